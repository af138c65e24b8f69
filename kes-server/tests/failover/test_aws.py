"""A real MinIO on kes on AWS Secrets Manager, played by moto, which verifies signatures and the minimal policy: what was
written is read after MinIO and kes were restarted cold."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest
from stack import KEY, Process, Stack, eventually, free_port
from writers import BUCKET, client, make_bucket

# the interpreter that has moto
PYTHON = os.environ["KESTACK_PYTHON"]
JUDGE = Path(__file__).parent.parent / "keystores/judges/aws.py"
POLICY = [f"secretsmanager:{action}" for action in ("CreateSecret", "DeleteSecret", "GetSecretValue", "ListSecrets")]


def judge(*arguments):
    said = subprocess.run([PYTHON, "-B", JUDGE, *arguments], check=True, capture_output=True, text=True, timeout=60)
    return json.loads(said.stdout)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


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


def test_objects_outlast_a_cold_start(moto, tmp_path):
    access_key, secret_key = judge("user", moto, "kes", json.dumps(POLICY))
    keystore = (
        f"  aws:\n    secretsmanager:\n      endpoint: {moto}\n      region: eu-central-1\n"
        f"      credentials:\n        accesskey: {access_key}\n        secretkey: {secret_key}\n"
    )
    stack = Stack(tmp_path, ["127.0.0.1"], keystore)
    try:
        stack.start()
        make_bucket(stack, KEY)
        client(stack).put_object(Bucket=BUCKET, Key="object", Body=b"a text that nobody should read")
        assert judge("names", moto, access_key, secret_key) == [KEY]
        stack.stop()
        drives = [part.read_bytes() for part in tmp_path.glob("drive*/**/*") if part.is_file()]
        assert drives and not any(b"nobody should read" in part for part in drives)
        stack.start()
        answer = client(stack).get_object(Bucket=BUCKET, Key="object")
        assert answer["Body"].read() == b"a text that nobody should read"
        assert answer["ServerSideEncryption"] == "aws:kms"
    finally:
        stack.stop()
