"""Clients of MinIO that know what was acknowledged."""

import hashlib
import os
import threading
import time

import boto3
from botocore.config import Config

BUCKET = "failover"
WRITERS = 4


def client(stack):
    # no retries: `max_attempts: 1` would still retry once, and hide what happened
    config = Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=60, s3={"addressing_style": "path"})
    return boto3.client(
        "s3",
        endpoint_url=f"http://{stack.address}",
        aws_access_key_id="failover-user",
        aws_secret_access_key="failover-password",
        region_name="us-east-1",
        config=config,
    )


def make_bucket(stack, key):
    s3 = client(stack)
    s3.create_bucket(Bucket=BUCKET)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=BUCKET, ServerSideEncryptionConfiguration={"Rules": [rule]})


class Writers:
    """Four at a time, until they are stopped. What was acknowledged is kept over all of them."""

    def __init__(self, stack):
        self.stack, self.acknowledged, self.failed = stack, {}, []
        self.times, self.lock = [], threading.Lock()

    def __enter__(self):
        self.ending, self.times = threading.Event(), []
        self.threads = [threading.Thread(target=self.write, args=(number,)) for number in range(WRITERS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        for thread in self.threads:
            thread.join(120)
            assert not thread.is_alive(), "a writer hangs"

    def write(self, number):
        s3 = client(self.stack)
        while not self.ending.is_set():
            name, body = f"{number}/{time.monotonic_ns()}", os.urandom(1000 + 4000 * number)
            start = time.monotonic()
            try:
                s3.put_object(Bucket=BUCKET, Key=name, Body=body)
            except Exception as error:  # whatever it is, it was not acknowledged
                with self.lock:
                    self.failed.append((start, time.monotonic(), str(error)))
                continue
            with self.lock:
                self.acknowledged[name] = hashlib.sha256(body).hexdigest()
                self.times.append((start, time.monotonic()))

    def until_acknowledged(self, since, seconds):
        """How long after `since` each writer had been acknowledged something that it began later."""
        deadline = since + seconds
        while time.monotonic() < deadline:
            with self.lock:
                later = [end for start, end in self.times if start > since]
            if len(later) >= WRITERS * 3:
                return later[0] - since
            time.sleep(0.02)
        raise AssertionError(f"nothing was acknowledged for {seconds} s")

    def failed_without(self, kills):
        """Failures of writes that were not under way when a kes was killed: from and until when for each kill. MinIO's client
        does not repeat every request that a kes took with it; the writer gets an error, and nothing is acknowledged."""
        with self.lock:
            return [
                failure for failure in self.failed
                if not any(failure[0] <= until and failure[1] >= since for since, until in kills)
            ]

    def longest(self):
        with self.lock:
            return max((end - start for start, end in self.times), default=0)

    def unreadable(self):
        """Reads all that was acknowledged; the names of what is not as it was written."""
        s3, names = client(self.stack), list(self.acknowledged)
        wrong = []
        for name in names:
            try:
                body = s3.get_object(Bucket=BUCKET, Key=name)["Body"].read()
            except Exception as error:
                wrong.append(f"{name}: {error}")
                continue
            if hashlib.sha256(body).hexdigest() != self.acknowledged[name]:
                wrong.append(f"{name}: other content")
        return wrong
