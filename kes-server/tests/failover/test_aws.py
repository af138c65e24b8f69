"""A real MinIO on kes on AWS Secrets Manager: what was written is read after MinIO and kes were restarted cold."""

from cloud import judge, keystore, user
from stack import KEY, Stack
from writers import BUCKET, client, make_bucket


def test_objects_outlast_a_cold_start(moto, tmp_path):
    keys = user(moto)
    stack = Stack(tmp_path, ["127.0.0.1"], keystore(moto, *keys))
    try:
        stack.start()
        make_bucket(stack, KEY)
        client(stack).put_object(Bucket=BUCKET, Key="object", Body=b"a text that nobody should read")
        assert judge("names", moto, *keys) == [KEY]
        stack.stop()
        drives = [part.read_bytes() for part in tmp_path.glob("drive*/**/*") if part.is_file()]
        assert drives and not any(b"nobody should read" in part for part in drives)
        stack.start()
        answer = client(stack).get_object(Bucket=BUCKET, Key="object")
        assert answer["Body"].read() == b"a text that nobody should read"
        assert answer["ServerSideEncryption"] == "aws:kms"
    finally:
        stack.stop()
