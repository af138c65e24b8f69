"""What the tests start."""

import pytest
from cloud import PYTHON, answers
from stack import Process, eventually, free_port


@pytest.fixture
def moto(tmp_path):
    port = free_port()
    server = Process(
        [PYTHON, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        tmp_path / "moto.log",
        {"HOME": str(tmp_path), "INITIAL_NO_AUTH_ACTION_COUNT": "0"},
    )
    server.start()
    try:
        eventually("moto answers", lambda: answers(port), 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.kill()
