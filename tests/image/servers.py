"""Servers from the image, as engines run them, and clients that put objects into them."""

import json
import os
import socket
import time

import boto3
import docker
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

IMAGE = "localhost/kestack:latest"
BODY = b"seven words that nobody may read there"
ENGINE = os.environ["KESTACK_E2E_ENGINE"]
LIMIT = 60
# has KES refuse MinIO, and waits until it does; and the way back
DENY, ALLOW = os.environ["KESTACK_DENY"], os.environ["KESTACK_ALLOW"]

engine = docker.from_env(timeout=120)


def free_port():
    """A port below those that outgoing connections take: a client that asks a closed one of those may meet itself."""
    free_port.last = getattr(free_port, "last", 12000) + 1
    return free_port.last


class Server:
    """A container of the image; it goes when the block ends."""

    def __init__(self, command=None, env=None, **options):
        self.port = free_port()
        self.begun = time.monotonic()
        self.container = engine.containers.create(
            IMAGE, command, environment=env or {}, ports={"9000/tcp": ("127.0.0.1", self.port)}, **options
        )

    def __enter__(self):
        self.container.start()
        return self

    def __exit__(self, *_):
        self.container.remove(force=True, v=True)

    def s3(self, user="minioadmin", password="minioadmin"):
        return client(f"http://127.0.0.1:{self.port}", user, password)

    def run(self, *command, **options):
        """Exit code and output of a command inside."""
        code, output = self.container.exec_run(list(command), **options)
        return code, output.decode(errors="replace")

    def opened(self):
        """Waits until the server can be used."""
        end = time.monotonic() + LIMIT
        while self.run("kestack", "serve", "--check")[0] != 0:
            self.container.reload()
            assert self.container.status in ("running", "created"), self.log()
            assert time.monotonic() < end, self.log()
            time.sleep(0.05)
        return self

    def log(self):
        return self.container.logs().decode(errors="replace")

    def address(self):
        """Of the container itself: nobody else listens there."""
        while True:
            self.container.reload()
            networks = self.container.attrs["NetworkSettings"]["Networks"].values()
            found = [network["IPAddress"] for network in networks if network["IPAddress"]]
            if found:
                return found[0]

    def ended(self):
        """The exit code, once it has ended."""
        return self.container.wait(timeout=LIMIT)["StatusCode"]

    def holds(self, text=BODY):
        """True if a file on the drive has these bytes."""
        code, output = self.run("grep", "-rlF", text.decode(), "/data")
        assert code in (0, 1), output
        return code == 0


def client(endpoint, user="minioadmin", password="minioadmin"):
    config = Config(
        connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, max_pool_connections=4
    )
    return boto3.client(
        "s3", endpoint_url=endpoint, aws_access_key_id=user, aws_secret_access_key=password, region_name="us-east-1", config=config
    )


def first_put(s3, bucket, make=False, key="first", limit=LIMIT):
    """Puts an object until it is taken; how it is protected."""
    end = time.monotonic() + limit
    while True:
        try:
            if make:
                try:
                    s3.create_bucket(Bucket=bucket)
                except s3.exceptions.BucketAlreadyOwnedByYou:
                    pass
            answer = s3.put_object(Bucket=bucket, Key=key, Body=BODY)
        except (BotoCoreError, ClientError) as refused:
            assert time.monotonic() < end, refused
            time.sleep(0.001)
            continue
        return protection(answer)


def protection(answer):
    return answer.get("ServerSideEncryption"), answer.get("SSEKMSKeyId", "").rsplit(":", 1)[-1].rsplit("/", 1)[-1]


SEALED = ("aws:kms", "minio-backend-key")


def is_open(address, port):
    try:
        with socket.create_connection((address, port), timeout=5):
            return True
    except OSError:
        return False


def said(answer):
    return json.dumps(answer, default=str)
