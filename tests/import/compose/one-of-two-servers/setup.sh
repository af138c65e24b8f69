#!/bin/sh
set -e
mc alias set m http://master:9000 two two-password
mc mb -p m/from-a-script
mc replicate add m/from-a-script --remote-bucket http://replica:9000/x
