"""The busy one of three kes is killed, then stopped, under four writers whose SDK does not retry. What was
acknowledged stays readable, also after everything was restarted cold; a stopped kes is replaced within seconds."""

import os
import signal
import time

import pytest
from stack import KEY, Stack, eventually
from writers import WRITERS, Writers, make_bucket

# From SIGSTOP until writes that began later are acknowledged; what hangs meanwhile hangs in MinIO, which waits forever.
RECOVERY = 5
# How long MinIO does without a replica that failed.
PENALTY = 30

# MinIO sends everything to one of several on 127.0.0.1, and spreads over other addresses, as over other machines.
HOSTS = {"sticky": ["127.0.0.1"] * 3, "spread": ["127.0.0.2", "127.0.0.3", "127.0.0.4"]}


@pytest.fixture(scope="module", params=HOSTS)
def running(request, tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp(request.param), HOSTS[request.param])
    try:
        stack.start()
        make_bucket(stack, KEY)
        yield stack, Writers(stack)
    finally:
        stack.stop()


def told(writers, what):
    print(f"\n{what}: {len(writers.acknowledged)} acknowledged, {len(writers.failed)} failed, longest write {writers.longest():.2f} s")


def test_a_busy_replica_is_killed_twice(running):
    stack, writers = running
    with writers:
        writers.until_acknowledged(time.monotonic(), 30)
        killed, kills = [], []
        for _ in range(2):
            busy = stack.busy()
            since = time.monotonic()
            busy.kill()
            kills.append((since, time.monotonic()))
            killed.append(busy)
            took = writers.until_acknowledged(time.monotonic(), 30)
            print(f"\nkilled the busy one: the next write after {took:.2f} s")
            time.sleep(2)
        for replica in killed:
            replica.start()
            eventually("it answers again", replica.answers)
        writers.until_acknowledged(time.monotonic(), 30)
        if os.environ.get("KES_FAILOVER_LONG"):
            time.sleep(PENALTY + 5)
            assert stack.busy().process.poll() is None
    told(writers, "killed twice")
    assert len(writers.acknowledged) > 20
    assert len(writers.failed) <= WRITERS * len(kills)
    assert not writers.failed_without(kills), (kills, writers.failed[:3])


def test_a_stopped_replica_is_replaced(running):
    stack, writers = running
    before = len(writers.failed)
    with writers:
        writers.until_acknowledged(time.monotonic(), 60)
        busy = stack.busy()
        [server] = busy.children()
        os.kill(server, signal.SIGSTOP)
        took = writers.until_acknowledged(time.monotonic(), 60)
        eventually("the supervisor has started another", lambda: busy.children() not in ([], [server]))
    told(writers, f"stopped: the next write after {took:.2f} s")
    assert took < RECOVERY
    assert not writers.failed[before:], writers.failed[before:][:3]


def test_everything_is_readable_after_a_cold_start(running):
    stack, writers = running
    assert writers.acknowledged
    assert writers.unreadable() == []
    stack.stop()
    stack.start()
    unreadable = writers.unreadable()
    print(f"\n{len(writers.acknowledged)} acknowledged, {len(writers.failed)} failed, {len(unreadable)} unreadable")
    assert unreadable == []
