"""The stock module of Python, with another image."""

import io
import time

import pytest
from minio.error import S3Error
from testcontainers.community.minio import MinioContainer

from servers import BODY, DENY, SEALED


def test_the_stock_module_encrypts():
    begun = time.monotonic()
    with MinioContainer("localhost/kestack") as minio:
        s3 = minio.get_client()
        started = time.monotonic()
        s3.put_object("encrypted", "hello", io.BytesIO(BODY), len(BODY))
        print(f"# python: start {(started - begun) * 1000:.0f} ms, first PUT {(time.monotonic() - started) * 1000:.0f} ms")
        found = s3.stat_object("encrypted", "hello").metadata
        key = found["x-amz-server-side-encryption-aws-kms-key-id"].rsplit(":", 1)[-1]
        assert (found["x-amz-server-side-encryption"], key) == SEALED
        assert s3.get_object("encrypted", "hello").data == BODY
        container = minio.get_wrapped_container()
        assert container.exec_run(["grep", "-rlF", BODY.decode(), "/data"]).exit_code == 1, "the drive holds it in clear"
        assert container.exec_run(["sh", "-c", DENY]).exit_code == 0
        with pytest.raises(S3Error):
            s3.put_object("encrypted", "hello", io.BytesIO(BODY), len(BODY))
