"""The keystore of three kes goes away and returns under four writers whose SDK does not retry. A moment of it nobody
notices; a longer one fails writes, but nothing that was acknowledged, and all goes on when it is back."""

import time

import pytest
from cloud import Gate, keystore, user
from stack import KEY, Stack, eventually
from writers import Writers, make_bucket

# A key is read again this often, so that every outage is felt.
CACHE = "cache:\n  expiry:\n    any: 2s\n    unused: 1s\n"
# Shorter than kes waits for its keystore, and longer.
MOMENT, LONG = 6, 14


@pytest.fixture
def running(moto, tmp_path):
    gate = Gate(int(moto.rpartition(":")[2]))
    stack = Stack(tmp_path, ["127.0.0.1"] * 3, keystore(f"http://127.0.0.1:{gate.port}", *user(moto)) + CACHE)
    try:
        stack.start()
        make_bucket(stack, KEY)
        yield stack, Writers(stack), gate
    finally:
        stack.stop()


def test_a_keystore_goes_and_comes(running):
    stack, writers, gate = running
    with writers:
        writers.until_acknowledged(time.monotonic(), 60)
        for away, back in ((gate.shut, gate.open), (gate.stall, gate.flow)):
            away()
            time.sleep(MOMENT)
            back()
            took = writers.until_acknowledged(time.monotonic(), 60)
            print(f"\n{away.__name__} for {MOMENT} s: written again {took:.2f} s after its end")
    counts = len(writers.acknowledged), len(writers.failed), sum(kes.failures() for kes in stack.replicas)
    print(f"\n{counts[0]} acknowledged, {counts[1]} failed, {counts[2]} answers of 5xx, longest {writers.longest():.2f} s")
    assert writers.longest() > MOMENT / 2, "nobody felt it"
    assert counts[1:] == (0, 0), writers.failed[:3]

    with writers:
        writers.until_acknowledged(time.monotonic(), 60)
        gate.shut()
        time.sleep(LONG / 2)
        last = stack.replicas[-1]
        last.kill()
        last.start()
        eventually("it starts without its keystore", last.answers)
        time.sleep(LONG / 2)
        gate.open()
        took = writers.until_acknowledged(time.monotonic(), 90)
    print(f"\nshut for {LONG} s: {len(writers.failed)} failed, written again {took:.2f} s after its end")
    assert writers.unreadable() == []
    stack.stop()
    stack.start()
    unreadable = writers.unreadable()
    print(f"\n{len(writers.acknowledged)} acknowledged, {len(writers.failed)} failed, {len(unreadable)} unreadable")
    assert unreadable == []
