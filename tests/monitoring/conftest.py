"""What all tests of this folder watch, once."""

import contextlib
import sys
from pathlib import Path

import pytest

# processes and waits, as the tests of several kes under a MinIO have them
sys.path.append(str(Path(__file__).resolve().parents[2] / "kes-server/tests/failover"))


@pytest.fixture(scope="session")
def everything(tmp_path_factory):
    """The stack, the kes with a Vault, and the Prometheus that watches both."""
    from watched import Kes, Prometheus, Stack

    with contextlib.ExitStack() as ends:
        stack = Stack(tmp_path_factory.mktemp("stack"))
        ends.callback(stack.stop)
        stack.start()
        kes = Kes(tmp_path_factory.mktemp("kes"))
        ends.callback(kes.stop)
        kes.start()
        assert kes.ask("key", "create", "kept") and kes.ask("key", "dek", "kept")
        prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"), {"stack": stack, "kes": kes})
        ends.callback(prometheus.process.kill)
        prometheus.start()
        yield stack, kes, prometheus
