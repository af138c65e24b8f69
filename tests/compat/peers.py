"""Clients and keystores of others: each gives rows of a table."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from stack import KESTACK, Stack, row, said

ROOT = Path(__file__).resolve().parent.parent.parent
SDK = "v0.3.1"
# what kes needs of AWS
LEAST = ["secretsmanager:CreateSecret", "secretsmanager:DeleteSecret", "secretsmanager:GetSecretValue", "secretsmanager:ListSecrets"]
# and of OpenBao, as docs/keystores.md says
BAO_POLICY = """
path "kv2/data/*" { capabilities = ["create", "read"] }
path "kv2/metadata/*" { capabilities = ["list", "delete"] }
"""


def go_sdk(minio):
    """A row for each method of MinIO's Go SDK for KES, against the kes of a stack."""
    with tempfile.TemporaryDirectory(prefix="kestack-compat-") as folder:
        stack = Stack(Path(folder), minio, "process")
        program = Path(folder) / "sdk"
        try:
            said("go", "build", "-o", str(program), ".", cwd=ROOT / "tests/compat/go", limit=600)
            stack.kestack("up")
            stack.known()
            config = (stack.folder / "stacks" / stack.name / "config/kes-config.yaml").read_text()
            identity = re.search(r'identities: \["([0-9a-f]{64})"\]', config)[1]
            lines = said(program, env=stack.environment | {"SDK_POLICY": "minio", "SDK_IDENTITY": identity}).splitlines()
            found = [json.loads(line) for line in lines]
        except Exception as error:  # noqa: BLE001, a cell says what went wrong
            found = [{"method": "all", "error": str(error)}]
        finally:
            subprocess.run([KESTACK, "down", "--data", "--quiet"], env=stack.environment, cwd=folder, timeout=120, check=False)
    return [(one["method"], cell(one.get("error"))) for one in found]


def cell(error):
    return "yes" if error is None else "**no**: " + " ".join(error.split())[:160].replace("|", "/")


@contextmanager
def served(*command, **more):
    """A server that ends with the block, and the line in which it says where it listens."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more) as server:
        try:
            yield server.stdout.readline().strip()
        finally:
            server.kill()


def serves(ask):
    """Waits until a server answers."""
    end = time.monotonic() + 30
    while True:
        try:
            return ask()
        except AssertionError:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)


@contextmanager
def moto():
    python, judge = os.environ["KESTACK_PYTHON"], str(ROOT / "kes-server/tests/keystores/judges/aws.py")
    variables = os.environ | {"INITIAL_NO_AUTH_ACTION_COUNT": "0"}
    with served(python, "-B", judge, "serve", "127.0.0.1", env=variables, stderr=subprocess.DEVNULL) as port:
        url = f"http://127.0.0.1:{port}"
        user, secret = json.loads(said(python, "-B", judge, "user", url, "kes", json.dumps(LEAST)))
        keys = f"accesskey: '{user}', secretkey: '{secret}'"
        yield f"keystore: {{ aws: {{ secretsmanager: {{ endpoint: '{url}', region: eu-central-1, credentials: {{ {keys} }} }} }} }}"


@contextmanager
def emulated_vault():
    with served(os.environ["KESTACK_EMULATOR"], "vault", "--listen", "127.0.0.1:0") as url:
        yield vault(url, "kv2", "kes-role", "kes-secret")


def vault(url, engine, role, secret):
    return f"keystore: {{ vault: {{ endpoint: '{url}', engine: {engine}, version: v2, approle: {{ id: {role}, secret: '{secret}' }} }} }}"


@contextmanager
def bao():
    """OpenBao in its development mode, with the policy and the role that docs/keystores.md asks for."""
    program, address = os.environ["KESTACK_BAO"], "127.0.0.1:18200"
    with tempfile.TemporaryDirectory() as home, served(
        program, "server", "-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address={address}",
        env=os.environ | {"HOME": home}, stderr=subprocess.DEVNULL,
    ):
        variables = os.environ | {"HOME": home, "BAO_ADDR": f"http://{address}", "BAO_TOKEN": "root"}
        ask = lambda *words, **more: said(program, *words, env=variables, **more)  # noqa: E731
        serves(lambda: ask("status"))
        ask("secrets", "enable", "-version=2", "-path=kv2", "kv")
        ask("policy", "write", "kes", "-", input=BAO_POLICY)
        ask("auth", "enable", "approle")
        ask("write", "auth/approle/role/kes", "policies=kes", "period=5m")
        role = json.loads(ask("read", "-format=json", "auth/approle/role/kes/role-id"))["data"]["role_id"]
        secret = json.loads(ask("write", "-f", "-format=json", "auth/approle/role/kes/secret-id"))["data"]["secret_id"]
        yield vault(f"http://{address}", "kv2", role, secret)


def python_package(name):
    code = f"import importlib.metadata as m; print(m.version('{name}'))"
    return said(os.environ["KESTACK_PYTHON"], "-c", code).strip()


KEYSTORES = [
    ("AWS Secrets Manager by moto", moto, "KESTACK_PYTHON", lambda: python_package("moto"), "no Python with moto is named"),
    ("Vault's API by our emulator", emulated_vault, "KESTACK_EMULATOR", lambda: "–", "it was not built"),
    ("Vault's API by OpenBao", bao, "KESTACK_BAO", lambda: said(os.environ["KESTACK_BAO"], "version").split()[1], "no binary is named"),
]


def keystores(minio):
    """A row for each keystore under a real MinIO, with the columns of MinIO."""
    for name, server, variable, version, why in KEYSTORES:
        if variable not in os.environ:
            yield name, "–", [f"not run: {why} (`{variable}`)"]
            continue
        print(name, file=sys.stderr)
        try:
            with server() as section:
                found = row(minio, "process", section)
        except Exception as error:  # noqa: BLE001, a cell says what went wrong
            found = [cell(str(error))]
        yield name, version(), found


def operator():
    """The Operator's own definition of a Tenant judges what kestack exports."""
    name, crd = "MinIO's Operator: `kestack export tenant`, judged by kubectl-validate", os.environ.get("KESTACK_TENANT_CRD")
    if crd is None:
        return name, "–", "not run: no CustomResourceDefinition is named (`KESTACK_TENANT_CRD`)"
    version = re.search(r"operator\.min\.io/version: (\S+)", Path(crd).read_text())
    try:
        said(ROOT / "tests/kubectl", "tenant", limit=600)
        error = None
    except Exception as failed:  # noqa: BLE001, a cell says what went wrong
        error = str(failed)
    return name, version[1] if version else "not said", cell(error)
