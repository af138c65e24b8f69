"""A stack of its own, and the checks that are a table's columns."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

KESTACK = Path(os.environ["KESTACK_BIN"])
MANIFEST = """\
version: v1
name: {name}
kes: {{ port: 0 }}
minio: {{ port: 0, console_port: 0 }}
keys: [minio-backend-key, second]
buckets: [{{ name: encrypted }}, {{ name: default-key, encryption: sse-s3 }}, {{ name: copies, versioning: true }}]
{more}
"""


def said(*command, limit=180, **more):
    """What a program says; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False, **more)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise AssertionError(f"`{Path(command[0]).name} {' '.join(map(str, command[1:3]))}`: {' '.join(last)}")
    return done.stdout


class Stack:
    def __init__(self, folder, minio, engine, more=""):
        self.folder, self.name = folder, f"compat-{os.getpid()}"
        self.environment = os.environ | {
            "KESTACK_DIR": str(folder / "stacks"), "KESTACK_ENGINE": engine, "MINIO_BINARY": str(minio),
            "MC_CONFIG_DIR": str(folder / "mc"), "KESTACK_FILE": str(folder / "kestack.yaml"),
        }
        (folder / "kestack.yaml").write_text(MANIFEST.format(name=self.name, more=more))

    def kestack(self, *arguments):
        return said(KESTACK, *arguments, env=self.environment, cwd=self.folder)

    def mc(self, *arguments):
        return said("mc", "--quiet", *arguments, env=self.environment, cwd=self.folder)

    def inner(self, port):
        """MinIO's port as it sees it itself: in a container it is not that of the host."""
        return port if self.environment["KESTACK_ENGINE"] == "process" else 9000

    def known(self):
        """Reads where the servers are, which a restart may change."""
        found = json.loads(self.kestack("env", "--shell", "json"))
        self.environment |= {name: value for name, value in found.items() if isinstance(value, str)}
        self.alias = next(name for name in found if name.startswith("MC_HOST_")).removeprefix("MC_HOST_")
        self.s3 = boto3.client(
            "s3", endpoint_url=found["AWS_ENDPOINT_URL_S3"], aws_access_key_id=found["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=found["AWS_SECRET_ACCESS_KEY"], region_name="us-east-1", config=Config(retries={"max_attempts": 2}),
        )

    def key_of(self, name):
        return self.s3.head_object(Bucket="encrypted", Key=name).get("SSEKMSKeyId", "").rpartition(":")[2]

    def read(self, name, bucket="encrypted"):
        return self.s3.get_object(Bucket=bucket, Key=name)["Body"].read()


def start(stack):
    stack.kestack("up")
    stack.known()


def iam(stack):
    stack.mc("admin", "user", "add", stack.alias, "somebody", "a long password")
    stack.kestack("stop")
    stack.kestack("start")
    stack.known()
    assert "somebody" in stack.mc("admin", "user", "list", stack.alias), "the user is gone"


def keys(stack):
    stack.mc("admin", "kms", "key", "create", stack.alias, "by-mc")
    assert "by-mc" in stack.mc("admin", "kms", "key", "list", stack.alias), "the key is not listed"


def sse_kms(stack):
    stack.s3.put_object(Bucket="encrypted", Key="kms", Body=b"k" * 300_000, ServerSideEncryption="aws:kms", SSEKMSKeyId="second")
    assert stack.key_of("kms") == "second" and stack.read("kms") == b"k" * 300_000, "it does not come back under its key"


def sse_s3(stack):
    stack.s3.put_object(Bucket="default-key", Key="s3", Body=b"three", ServerSideEncryption="AES256")
    head = stack.s3.head_object(Bucket="default-key", Key="s3")
    assert head["ServerSideEncryption"] == "AES256" and stack.read("s3", "default-key") == b"three", "it does not come back"


def multipart(stack):
    part = b"p" * (5 << 20)
    upload = stack.s3.create_multipart_upload(Bucket="encrypted", Key="parts")["UploadId"]
    where = {"Bucket": "encrypted", "Key": "parts", "UploadId": upload}
    made = [
        {"PartNumber": n, "ETag": stack.s3.upload_part(**where, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate([part, b"rest"], 1)
    ]
    stack.s3.complete_multipart_upload(**where, MultipartUpload={"Parts": made})
    assert stack.read("parts") == part + b"rest", "it does not come back"


def copy(stack):
    stack.s3.put_object(Bucket="encrypted", Key="original", Body=b"to be copied")
    stack.s3.copy_object(
        Bucket="encrypted", Key="copied", CopySource="encrypted/original", ServerSideEncryption="aws:kms", SSEKMSKeyId="second"
    )
    assert (stack.key_of("copied"), stack.read("copied")) == ("second", b"to be copied"), "not under the other key"


def keyrotate(stack):
    stack.s3.put_object(Bucket="encrypted", Key="rotate/one", Body=b"turned")
    job = stack.folder / "job.yaml"
    job.write_text("keyrotate: { apiVersion: v1, bucket: encrypted, prefix: rotate/, encryption: { type: sse-kms, key: second } }\n")
    stack.mc("batch", "start", stack.alias, job)
    end = time.monotonic() + 60
    while stack.key_of("rotate/one") != "second":
        assert time.monotonic() < end, "no new key within a minute"
        time.sleep(0.5)
    assert stack.read("rotate/one") == b"turned", "it does not come back"


def rotate(stack):
    """Replaces MinIO's default key, under versions of an object, a deletion, tags and a bucket that is replicated, then starts
    everything again."""
    for body in (b"one", b"two", b"three"):
        stack.s3.put_object(Bucket="copies", Key="versions", Body=body)
    stack.s3.delete_object(Bucket="copies", Key="versions")
    stack.s3.put_object(Bucket="copies", Key="tagged", Body=b"t" * 300_000, Tagging="k=v")
    port = urlsplit(stack.environment["AWS_ENDPOINT_URL_S3"]).port
    user, password = stack.environment["AWS_ACCESS_KEY_ID"], stack.environment["AWS_SECRET_ACCESS_KEY"]
    stack.mc("mb", "--with-versioning", f"{stack.alias}/replicas")
    stack.mc("replicate", "add", f"{stack.alias}/copies", "--remote-bucket", f"http://{user}:{password}@127.0.0.1:{stack.inner(port)}/replicas")

    # a configuration that MinIO does not keep inside its metadata file any more
    rules = [
        {"ID": f"{n}", "Status": "Enabled", "Filter": {"Prefix": f"{n:04}{'p' * 400}"}, "Expiration": {"Days": 9999}}
        for n in range(400)
    ]
    stack.s3.put_bucket_lifecycle_configuration(Bucket="copies", LifecycleConfiguration={"Rules": rules})

    def seen():
        found = stack.s3.list_object_versions(Bucket="copies")
        return [
            [(one["Key"], one["VersionId"], one["LastModified"], one["IsLatest"], one.get("ETag")) for one in found[kind]]
            for kind in ("Versions", "DeleteMarkers")
        ]

    before = seen()
    stack.kestack("key", "rotate", "minio-backend-key", "replaced", "--no-snapshot", "--delete-old")
    stack.kestack("stop")
    stack.kestack("start")
    stack.known()
    assert seen() == before, "versions, times, ETags or deletions changed"
    assert stack.read("tagged", "copies") == b"t" * 300_000 and stack.read("kms") == b"k" * 300_000, "it does not come back"
    assert stack.s3.get_object_tagging(Bucket="copies", Key="tagged")["TagSet"] == [{"Key": "k", "Value": "v"}], "tags are gone"
    assert "replicas" in stack.mc("replicate", "ls", f"{stack.alias}/copies"), "the target of replication is gone"
    assert "minio-backend-key" not in stack.kestack("key", "list"), "the former key is there"


def status(stack):
    answer = stack.mc("admin", "kms", "key", "status", stack.alias)
    assert "Decryption" in answer or "success" in answer.lower(), answer
    assert re.search(r"^minio_cluster_kms_online\S* 1$", stack.mc("admin", "prometheus", "metrics", stack.alias), re.MULTILINE)


def verify(stack):
    stack.kestack("verify")


COLUMNS = [
    ("start", start), ("IAM after a restart", iam), ("keys by `mc`", keys), ("SSE-KMS", sse_kms), ("SSE-S3", sse_s3),
    ("multipart", multipart), ("copy", copy), ("batch `keyrotate`", keyrotate), ("KMS status, metrics", status), ("`verify`", verify),
    ("`key rotate`", rotate),
]


def row(minio, engine, more="", columns=COLUMNS):
    """A cell of each column."""
    cells = []
    with tempfile.TemporaryDirectory(prefix="kestack-compat-") as folder:
        stack = Stack(Path(folder), minio, engine, more)
        try:
            for name, check in columns:
                try:
                    check(stack)
                    cells.append("yes")
                except Exception as error:  # noqa: BLE001, a cell says what went wrong
                    cells.append("**no**: " + " ".join(str(error).split())[:160].replace("|", "/"))
                print(f"{name}: {cells[-1]}", file=sys.stderr)
                if cells == [cells[0]] and cells[0] != "yes":
                    return cells + ["not run: it did not start"] * (len(columns) - 1)
        finally:
            subprocess.run([KESTACK, "down", "--data", "--quiet"], env=stack.environment, cwd=folder, timeout=120, check=False)
    return cells
