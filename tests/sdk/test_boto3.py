"""boto3 against a stack: what a Python user does, with the SDK's defaults."""

import os

import boto3
import pytest
from botocore.exceptions import ClientError

KEY = "arn:aws:kms:sdk-key"


@pytest.fixture(scope="session")
def s3():
    return boto3.client("s3")


def test_an_object_is_encrypted_with_the_buckets_key(s3):
    body = os.urandom(300_000)
    put = s3.put_object(Bucket="encrypted", Key="folder/object", Body=body)
    assert (put["ServerSideEncryption"], put["SSEKMSKeyId"]) == ("aws:kms", KEY)
    got = s3.get_object(Bucket="encrypted", Key="folder/object")
    assert (got["ServerSideEncryption"], got["SSEKMSKeyId"]) == ("aws:kms", KEY)
    assert got["Body"].read() == body


def test_the_buckets_say_how_they_encrypt(s3):
    def default(bucket):
        rules = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
        return rules[0]["ApplyServerSideEncryptionByDefault"]

    assert default("encrypted") == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "sdk-key"}
    assert default("default-key") == {"SSEAlgorithm": "AES256"}


def test_sse_s3_reads_back(s3):
    put = s3.put_object(Bucket="default-key", Key="object", Body=b"hello")
    assert put["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket="default-key", Key="object")["Body"].read() == b"hello"


def test_multipart_upload_reads_back(s3, tmp_path):
    path = tmp_path / "large"
    path.write_bytes(os.urandom(12 * 1024 * 1024))
    s3.upload_file(str(path), "encrypted", "large")
    head = s3.head_object(Bucket="encrypted", Key="large")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", KEY)
    assert s3.get_object(Bucket="encrypted", Key="large")["Body"].read() == path.read_bytes()


def test_an_unknown_key_is_refused(s3):
    with pytest.raises(ClientError) as error:
        s3.put_object(Bucket="encrypted", Key="x", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="absent")
    assert error.value.response["Error"]["Code"] == "kms:KeyNotFound"
