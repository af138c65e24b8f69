#!/usr/bin/env python3
"""Measures the image against MinIO alone, in turn: `tests/image/run ENGINE figures`.

From the call of the engine's client to the first object that is taken (medians of KESTACK_E2E_TIMES), memory, ten at once.
"""

import io
import os
import statistics
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

from servers import ENGINE, IMAGE, client, engine, first_put, free_port

ALONE = "localhost/minio-alone:latest"
TIMES = int(os.environ.get("KESTACK_E2E_TIMES", "5"))


def import_minio():
    """MinIO and nothing else, as an image."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(os.environ["MINIO_BINARY"], "minio")
        for name in ("data", "tmp"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(folder)
    tool = [ENGINE, "import", "--change", 'ENTRYPOINT ["/minio"]', "--change", "ENV HOME=/", "-", ALONE]
    subprocess.run(tool, input=packed.getvalue(), stdout=subprocess.DEVNULL, check=True)


def start(image, name):
    port = free_port()
    begun = time.monotonic()
    subprocess.run(
        [ENGINE, "run", "--detach", "--name", name, "--publish", f"127.0.0.1:{port}:9000", "--volume", "/data", image, "server", "/data"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
    protection = first_put(client(f"http://127.0.0.1:{port}"), "encrypted", make=image == ALONE)
    took = (time.monotonic() - begun) * 1000
    assert protection[0] == (None if image == ALONE else "aws:kms")
    return took


def remove(*names):
    for name in names:
        engine.containers.get(name).remove(force=True, v=True)


def memory(name):
    """Kilobytes that each program of a container holds for itself."""
    pid = engine.containers.get(name).attrs["State"]["Pid"]
    found, pids = {}, [pid]
    while pids:
        pid = pids.pop()
        with open(f"/proc/{pid}/task/{pid}/children") as children:
            pids += children.read().split()
        with open(f"/proc/{pid}/smaps_rollup") as maps, open(f"/proc/{pid}/comm") as comm:
            held = [int(line.split()[1]) for line in maps if line.startswith("Pss:")]
            found[comm.read().strip()] = held[0]
    return found


def charged(name):
    """Kilobytes that the kernel charges to a container, as `docker stats` shows them: without cache that it can give back."""
    stats = engine.containers.get(name).stats(stream=False)["memory_stats"]
    more = stats.get("stats", {})
    return (stats["usage"] - more.get("total_inactive_file", more.get("inactive_file", 0))) // 1024


def main():
    import_minio()
    times = {ALONE: [], IMAGE: []}
    for number in range(TIMES):
        for image, found in times.items():
            found.append(start(image, f"one-{number}"))
            if number == 0:
                time.sleep(2)
                print(f"{ENGINE}: memory of {image}: {charged('one-0')} kB charged; {memory('one-0')} kB by program")
            remove(f"one-{number}")
    for image, found in times.items():
        print(f"{ENGINE}: {image}: first PUT after {statistics.median(found):.0f} ms ({min(found):.0f} to {max(found):.0f})")
    for image in (ALONE, IMAGE):
        names = [f"ten-{number}" for number in range(10)]
        begun = time.monotonic()
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda name, image=image: start(image, name), names))
        print(f"{ENGINE}: {image}: ten at once: {time.monotonic() - begun:.1f} s")
        remove(*names)


if __name__ == "__main__":
    main()
