"""Clients against a bucket that encrypts with SSE-KMS, each with nothing but what `kestack env --client` prints: over HTTP,
and once more over TLS. `tests/readme` runs the commands of docs/clients.md as they stand there."""

import os
import subprocess
from pathlib import Path

import boto3
import pytest

KESTACK = os.environ["KESTACK_BIN"]
BODY = os.urandom(300_000)
LARGE = os.urandom(12 * 1024 * 1024)
SCHEME = os.environ["AWS_ENDPOINT_URL"].split(":")[0]
PLACE = f"encrypted/{SCHEME}"


def setup(client):
    return subprocess.run([KESTACK, "env", "--client", client], check=True, capture_output=True, text=True).stdout


def shell(client, script, cwd):
    """Runs a script in a shell that has nothing but the client's variables."""
    variables = setup(client) if client else ""
    env = {"HOME": str(cwd), "PATH": os.environ["PATH"]}
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{variables}\n{script}"], cwd=cwd, env=env, capture_output=True, text=True
    )
    assert run.returncode == 0, f"{script}\n{run.stdout}\n{run.stderr}"
    return run.stdout + run.stderr


def key_of(bucket, name):
    head = boto3.client("s3").head_object(Bucket=bucket, Key=name)
    assert head["ServerSideEncryption"] == "aws:kms"
    return head["SSEKMSKeyId"].rsplit(":", 1)[-1]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "small").write_bytes(BODY)
    (tmp_path / "data" / "large").write_bytes(LARGE)
    return tmp_path


def remote():
    name = Path(os.environ["KESTACK_FILE"]).read_text().split("name: ")[1].split()[0]
    return name.replace("-", "_")


def test_boto3_and_s3fs_need_only_the_variables(files):
    script = f"""python3 - <<'PYTHON'
import boto3, s3fs
body = open("data/large", "rb").read()
boto3.client("s3").upload_file("data/large", "encrypted", "{SCHEME}/boto3")
s3 = s3fs.S3FileSystem()
assert s3.cat("{PLACE}/boto3") == body
with s3.open("{PLACE}/s3fs", "wb") as file:
    file.write(body)
assert s3.cat("{PLACE}/s3fs") == body
PYTHON"""
    shell("s3fs", script, files)
    assert key_of("encrypted", f"{SCHEME}/s3fs") == "sdk-key"


def test_rclone_copies_checks_and_syncs(files):
    said = shell("rclone", f"rclone copy data {remote()}:{PLACE}/rclone; rclone check data {remote()}:{PLACE}/rclone", files)
    assert "corrupted" not in said and "ERROR" not in said, said
    again = shell("rclone", f"rclone sync --verbose data {remote()}:{PLACE}/rclone", files)
    assert "Copied" not in again, again
    shell("rclone", f"rclone copy {remote()}:{PLACE}/rclone back; cmp data/small back/small; cmp data/large back/large", files)
    assert key_of("encrypted", f"{SCHEME}/rclone/large") == "sdk-key"


def test_rclone_fails_without_it(files):
    """Why the remote asks for SSE-KMS: with a plain one rclone takes the ETag for an MD5 sum."""
    plain = "unset ${!RCLONE_CONFIG_*}; export RCLONE_CONFIG_PLAIN_TYPE=s3 RCLONE_CONFIG_PLAIN_PROVIDER=Minio"
    plain += f" RCLONE_CONFIG_PLAIN_ENV_AUTH=true RCLONE_CONFIG_PLAIN_ENDPOINT={os.environ['AWS_ENDPOINT_URL']}"
    plain += "; [ -z \"${AWS_CA_BUNDLE:-}\" ] || export RCLONE_CA_CERT=$AWS_CA_BUNDLE; unset AWS_CA_BUNDLE"
    said = shell("boto3", f"{plain}; rclone copy --retries 1 data/small plain:encrypted/plain || echo refused", files)
    assert "corrupted on transfer" in said and "refused" in said, said


def test_rclone_has_a_remote_for_each_key(files):
    shell("rclone", f"rclone copy data/small {remote()}_second_key:second/{SCHEME}", files)
    assert key_of("second", f"{SCHEME}/small") == "second-key"


def test_restic_backs_up_and_restores(files):
    script = f"""export RESTIC_PASSWORD=only-a-test RESTIC_REPOSITORY=$RESTIC_REPOSITORY-{SCHEME}
restic --quiet init; restic --quiet backup data; restic --quiet check --read-data
restic --quiet restore latest --target back; cmp data/large back/data/large || cmp data/large "back$PWD/data/large" """
    shell("restic", script, files)


def test_s3cmd_sends_what_is_new_and_nothing_else(files):
    (files / "s3cfg").write_text(setup("s3cmd"))
    sync = f"s3cmd --config s3cfg --no-check-md5 sync data/ s3://{PLACE}/s3cmd/"
    assert "upload:" in shell(None, sync, files)
    assert "upload:" not in shell(None, sync, files)
    shell(None, f"s3cmd --config s3cfg get s3://{PLACE}/s3cmd/small back; cmp data/small back", files)


def test_pyarrow_writes_and_reads_a_table(files):
    script = f"""python3 - <<'PYTHON'
{setup("pyarrow")}
import pyarrow
from pyarrow import parquet
table = pyarrow.table({{"number": list(range(1000))}})
parquet.write_table(table, "{PLACE}/table.parquet", filesystem=s3)
assert parquet.read_table("{PLACE}/table.parquet", filesystem=s3).equals(table)
PYTHON"""
    shell("boto3", script, files)
    assert key_of("encrypted", f"{SCHEME}/table.parquet") == "sdk-key"


def test_duckdb_writes_and_reads_a_table(files):
    import duckdb
    import duckdb_extension_httpfs as httpfs

    extension = next(Path(httpfs.__file__).parent.glob("extensions/*/httpfs.duckdb_extension"))
    connection = duckdb.connect(config={"extension_directory": str(files)})
    # the file that `INSTALL httpfs` would fetch from the network
    connection.execute(f"INSTALL '{extension}'")
    connection.execute(setup("duckdb"))
    connection.execute(f"COPY (SELECT range AS number FROM range(1000)) TO 's3://{PLACE}/duckdb.parquet'")
    assert connection.execute(f"SELECT sum(number) FROM 's3://{PLACE}/duckdb.parquet'").fetchall() == [(499500,)]
    assert key_of("encrypted", f"{SCHEME}/duckdb.parquet") == "sdk-key"


def test_mc_copies_objects_and_makes_keys(files):
    stack, key = remote(), f"made-by-mc-{SCHEME}"
    said = shell("mc", f"mc --quiet cp data/large {stack}/{PLACE}/mc; mc cat {stack}/{PLACE}/mc | cmp - data/large", files)
    assert key_of("encrypted", f"{SCHEME}/mc") == "sdk-key", said
    assert "sdk-key" in shell("mc", f"mc encrypt info {stack}/encrypted", files)
    keys = f"mc admin kms key create {stack} {key}; mc admin kms key status {stack} {key}; mc admin kms key list {stack}"
    said = shell("mc", keys, files)
    assert "Encryption" in said and "Decryption" in said and "sdk-key" in said.split("Decryption")[-1], said
