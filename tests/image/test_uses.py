"""What people do with an image of MinIO: services of CI, Compose files, images with other variables."""

import hashlib
import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from servers import ALLOW, BODY, DENY, ENGINE, SEALED, Server, engine, first_put, protection, said


def test_nothing_is_taken_while_kes_denies():
    with Server() as server:
        s3 = server.opened().s3()
        assert first_put(s3, "encrypted") == SEALED
        assert server.run("sh", "-c", DENY)[0] == 0
        end = time.monotonic() + 3
        while time.monotonic() < end:
            with pytest.raises((BotoCoreError, ClientError)):
                s3.put_object(Bucket="encrypted", Key="denied", Body=BODY)
        assert server.run("sh", "-c", ALLOW)[0] == 0
        assert first_put(s3, "encrypted", key="again") == SEALED
        assert not server.holds()


CHECKS = [
    ["curl", "-f", "http://localhost:9000/minio/health/live"],
    ["sh", "-c", "curl -sf http://localhost:9000/minio/health/live || exit 1"],
    ["curl", "-I", "http://localhost:9000/minio/health/live"],
    ["mc", "ready", "local"],
    ["sh", "-c", "mc ping local --count 1"],
    ["mc", "ping", "--count", "1", "local"],
    ["mc", "--config-dir", "/tmp", "ready", "local"],
    ["curl", "-fsS", "-v", "-X", "GET", "--retry", "3", "--retry-connrefused", "-4", "http://localhost:9000/minio/health/live"],
    ["timeout", "5s", "bash", "-c", ":> /dev/tcp/127.0.0.1/9000"],
    ["sh", "-c", "echo > /dev/tcp/127.0.0.1/9000"],
    ["wget", "--spider", "-q", "http://localhost:9000/minio/health/live"],
    ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:9000/minio/health/ready"],
    ["kestack", "serve", "--check"],
]


def test_the_usual_health_checks_work():
    with Server() as server:
        server.opened()
        for check in CHECKS:
            code, output = server.run(*check)
            assert code == 0, f"{check}: {output}"
        assert server.run("curl", "-f", "http://localhost:9000/encrypted/nothing")[0] == 22
        assert server.run("curl", "http://localhost:9/")[0] == 7
        # `mc ready` of MinIO's own client succeeds without KES
        assert server.run("sh", "-c", "kill -STOP $(pidof kes)")[0] == 0
        assert server.run("mc", "ready", "local")[0] != 0
        assert server.run("kestack", "serve", "--check")[0] == 4
        assert server.run("sh", "-c", "kill -CONT $(pidof kes)")[0] == 0


def test_the_image_brings_a_health_check():
    with Server() as server:
        server.opened()
        if ENGINE == "docker":
            end = time.monotonic() + 30
            while server.container.attrs["State"]["Health"]["Status"] != "healthy":
                assert time.monotonic() < end, said(server.container.attrs["State"])
                time.sleep(0.2)
                server.container.reload()
        else:  # it asks by timers of systemd, which is not there
            subprocess.run(["podman", "healthcheck", "run", server.container.id], check=True, timeout=30)
        config = engine.images.get(server.container.attrs["Image"]).attrs["Config"]
        assert set(config["ExposedPorts"]) == {"9000/tcp", "9001/tcp"}
        assert config["Volumes"] == {"/data": {}}


@pytest.mark.parametrize("program", ["minio", "/usr/bin/docker-entrypoint.sh minio", "exec /opt/bin/minio"])
def test_an_entry_point_that_is_a_shell_encrypts_all_the_same(program):
    """The recipe of many Compose files."""
    script = f'mkdir -p /data/uploads && {program} server --address ":9000" --console-address ":9001" /data'
    with Server(["-c", script], {"MINIO_ROOT_USER": "minio", "MINIO_ROOT_PASSWORD": "miniosecret"}, entrypoint="sh") as server:
        assert first_put(server.s3("minio", "miniosecret"), "uploads") == SEALED
        assert not server.holds()


def test_buckets_of_a_sidecar_encrypt():
    """`depends_on: service_healthy`, then `mc mb`, which is CreateBucket."""
    env = {"MINIO_ROOT_USER": "admin", "MINIO_ROOT_PASSWORD": "password"}
    with Server("server /data --console-address :9001", env) as server:
        server.opened()
        s3 = server.s3("admin", "password")
        s3.create_bucket(Bucket="warehouse")
        s3.create_bucket(Bucket="logs")
        for bucket in ("warehouse", "logs"):
            assert protection(s3.put_object(Bucket=bucket, Key="o", Body=BODY)) == SEALED
        assert not server.holds()


@pytest.mark.parametrize(
    ("command", "env", "user"),
    [
        (None, {"CI": "true", "GITHUB_ACTIONS": "true", "MINIO_ROOT_USER": "ci-user", "MINIO_ROOT_PASSWORD": "ci-password"}, "ci-user ci-password"),
        (None, {"MINIO_ACCESS_KEY": "former-user", "MINIO_SECRET_KEY": "former-secret"}, "former-user former-secret"),
        ("minio server /data", {}, "minioadmin minioadmin"),
        (None, {}, "minioadmin minioadmin"),
    ],
)
def test_services_of_ci_need_variables_only(command, env, user):
    with Server(command, env) as server:
        assert first_put(server.s3(*user.split()), "encrypted") == SEALED
        secrets = [word for word in user.split() if word != "minioadmin"]
        assert not any(secret in server.log() for secret in secrets)
        # nobody reads the environment of `kes`, not even root without CAP_SYS_PTRACE
        code, kes = server.run("sh", "-c", "tr '\\0' '\\n' </proc/$(pidof kes)/environ")
        assert code != 0 and "Permission denied" in kes, kes


def test_secrets_of_the_engine_are_the_root_user(tmp_path):
    """`secrets: [access_key, secret_key]` in Compose, and no variable."""
    for name, text in (("access_key", "filed-user"), ("secret_key", "filed-password")):
        (tmp_path / name).write_text(text)
    with Server(volumes={str(tmp_path): {"bind": "/run/secrets", "mode": "ro"}}) as server:
        assert first_put(server.s3("filed-user", "filed-password"), "encrypted") == SEALED
        with pytest.raises(ClientError):
            server.s3().list_buckets()


def test_default_buckets_of_bitnami():
    with Server(env={"MINIO_DEFAULT_BUCKETS": "open:public,closed;third fourth:download"}) as server:
        s3 = server.opened().s3()
        for bucket in ("open", "closed", "third", "fourth"):
            assert protection(s3.put_object(Bucket=bucket, Key="o", Body=BODY)) == SEALED
        url = f"http://127.0.0.1:{server.port}"
        for bucket, may in (("open", True), ("closed", False), ("fourth", True)):
            try:
                with urllib.request.urlopen(f"{url}/{bucket}/o", timeout=5) as answer:
                    assert may and answer.read() == BODY
            except urllib.error.HTTPError as refused:
                assert not may and refused.code == 403
        assert not server.holds()


def test_variables_of_s3mock():
    env = {
        "COM_ADOBE_TESTING_S3MOCK_STORE_INITIAL_BUCKETS": "first,second",
        "COM_ADOBE_TESTING_S3MOCK_STORE_VALID_KMS_KEYS": "arn:aws:kms:us-east-1:1234567890:key/valid-key",
    }
    with Server(env=env) as server:
        s3 = server.opened().s3()
        assert protection(s3.put_object(Bucket="first", Key="o", Body=BODY)) == SEALED
        with_key = s3.put_object(Bucket="second", Key="o", Body=BODY, ServerSideEncryption="aws:kms", SSEKMSKeyId="valid-key")
        assert protection(with_key) == ("aws:kms", "valid-key")
        assert not server.holds()


def test_it_runs_without_rights():
    hard = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges"], "user": "1000:1000"}
    with Server(**hard) as server:
        assert first_put(server.s3(), "encrypted") == SEALED
        assert not server.holds()


def test_a_drive_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o755)
    with Server(user="1000:1000", volumes={str(tmp_path): {"bind": "/data"}}) as server:
        assert server.ended() == 6
        assert "/data" in server.log() and "1000" in server.log()


def test_keys_stay_with_the_volume():
    volume = engine.volumes.create()
    try:
        mounted = {"volumes": {volume.name: {"bind": "/data"}}}
        with Server(**mounted) as server:
            assert first_put(server.s3(), "encrypted") == SEALED
        with Server(**mounted) as server:
            assert server.opened().s3().get_object(Bucket="encrypted", Key="first")["Body"].read() == BODY
            assert server.run("sh", "-c", "rm -r /data/.kestack/keys/*")[0] == 0
        with Server(**mounted) as server:
            assert server.ended() == 7
            assert "minio-backend-key" in server.log()
    finally:
        volume.remove(force=True)


def test_it_ends_at_once_and_passes_through():
    with Server() as server:
        server.opened()
        begun = time.monotonic()
        server.container.stop(timeout=20)
        assert server.ended() == 0 and time.monotonic() - begun < 9
    for pause in (0, 0.05, 0.1, 0.2, 0.4):
        with Server() as server:
            time.sleep(pause)
            begun = time.monotonic()
            server.container.stop(timeout=20)
            assert server.ended() == 0 and time.monotonic() - begun < 5, pause
    for command in ("--version", "minio --version"):
        with Server(command) as server:
            assert server.ended() == 0
            assert "minio version" in server.log().lower()


def test_two_images_of_the_same_programs_are_one(tmp_path):
    def build(*arguments):
        kestack = [os.environ["KESTACK_BIN"], "--engine", ENGINE, "--host", os.environ["DOCKER_HOST"], "--json", "image", "build"]
        done = subprocess.run([*kestack, "--minio", os.environ["MINIO_BINARY"], *arguments], capture_output=True, check=True, timeout=120)
        return json.loads(done.stdout)

    here = engine.images.get("localhost/kestack:latest").id.removeprefix("sha256:")
    again = build()
    assert (again["id"], again["present"]) == (here, True)
    files = [tmp_path / "one.tar", tmp_path / "two.tar"]
    assert {build("--archive", str(file))["id"] for file in files} == {here}
    assert len({hashlib.sha256(file.read_bytes()).digest() for file in files}) == 1
