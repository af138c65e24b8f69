"""boto3 and mc against a stack whose S3 speaks TLS: both trust the stack's authority by their environment alone."""

import base64
import os

import boto3
import pytest
from botocore.exceptions import ClientError

from test_clients import files, remote, shell  # noqa: F401: `files` is a fixture


@pytest.fixture(scope="session")
def s3():
    assert os.environ["AWS_ENDPOINT_URL_S3"].startswith("https://")
    return boto3.client("s3")


def test_an_object_under_the_clients_own_key_reads_back_with_that_key_alone(s3):
    key, body = os.urandom(32), os.urandom(100_000)
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}
    put = s3.put_object(Bucket="encrypted", Key="own", Body=body, **own)
    assert put["SSECustomerAlgorithm"] == "AES256"
    assert s3.get_object(Bucket="encrypted", Key="own", **own)["Body"].read() == body
    for wrong in ({}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}):
        with pytest.raises(ClientError):
            s3.get_object(Bucket="encrypted", Key="own", **wrong)


def test_parts_under_the_clients_own_key_read_back(s3, tmp_path):
    own = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
    path = tmp_path / "large"
    path.write_bytes(os.urandom(12 * 1024 * 1024))
    s3.upload_file(str(path), "encrypted", "own-large", ExtraArgs=own)
    assert s3.get_object(Bucket="encrypted", Key="own-large", **own)["Body"].read() == path.read_bytes()


def test_the_buckets_key_still_encrypts(s3):
    put = s3.put_object(Bucket="encrypted", Key="kms", Body=b"hello")
    assert put["ServerSideEncryption"] == "aws:kms"
    assert s3.get_object(Bucket="encrypted", Key="kms")["Body"].read() == b"hello"


def test_mc_reads_what_the_clients_own_key_encrypts_with_that_key_alone(files):  # noqa: F811
    place = f"{remote()}/encrypted/mc/own"
    own, other = [f'--enc-c "{place}={base64.b64encode(os.urandom(32)).decode().rstrip("=")}"' for _ in range(2)]
    shell("mc", f"mc --quiet cp {own} data/large {place}; mc cat {own} {place} | cmp - data/large", files)
    for wrong in ("", other):
        with pytest.raises(AssertionError):
            shell("mc", f"mc cat {wrong} {place}", files)
