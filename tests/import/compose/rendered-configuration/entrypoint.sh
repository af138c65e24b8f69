#!/bin/sh
sed -e "s/__ROLE__/$ROLE/" /template/kes.yaml >/tmp/kes.yaml
exec kes server --config /tmp/kes.yaml
