"""From the first moment on, nothing is stored in clear."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

from servers import SEALED, Server, first_put, is_open


def start_under_clients(number):
    """One start, and three clients who put objects from its first moment on."""
    volume = f"kestack-starts-{number % 3}"
    with Server(volumes={volume: {"bind": "/data"}} if number % 3 == 2 else None) as server, ThreadPoolExecutor(3) as pool:
        calls = [
            pool.submit(first_put, server.s3(), "encrypted", key=f"a-{number}"),
            pool.submit(first_put, server.s3(), "made-by-a-client", make=True, key=f"b-{number}"),
            pool.submit(first_put, server.s3(), "another", make=True, key=f"c-{number}"),
        ]
        assert [call.result() for call in calls] == [SEALED] * 3, f"start {number}"
        assert not server.holds(), f"start {number}: the drive holds it in clear"


def test_thirty_starts_under_clients_leave_nothing_in_clear():
    for number in range(int(os.environ.get("KESTACK_E2E_STARTS", "30"))):
        start_under_clients(number)


def test_the_port_opens_only_when_all_is_in_force():
    """GitLab waits for the port, and for nothing else."""
    with Server() as server:
        address, end = server.address(), time.monotonic() + 60
        while not is_open(address, 9000):
            assert time.monotonic() < end, server.log()
        assert first_put(server.s3(), "encrypted", limit=0) == SEALED
        # it closes a connection at once, as GitLab's check does, a thousand times
        assert all(is_open(address, 9000) for _ in range(1000))
        assert first_put(server.s3(), "encrypted", limit=0) == SEALED
