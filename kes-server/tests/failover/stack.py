"""Some kes over one keystore and a MinIO with four drives, as processes of this machine."""

import http.client
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

KES = str(Path(os.environ["KESTACK_BIN"]).with_name("kes"))
MINIO = os.environ["MINIO_BINARY"]
KEY = "failover-key"
SUCCESSES = re.compile(r'^kes_http_request_success\{.*code="200".*\} (\d+)', re.MULTILINE)
FAILURES = re.compile(r"^kes_http_request_failure\{.*\} (\d+)", re.MULTILINE)

# what MinIO calls, and nothing else
ALLOWED = ["/v1/key/create/*", "/v1/key/generate/*", "/v1/key/decrypt/*", "/v1/key/describe/*", "/v1/key/list/*", "/v1/status"]


def free_port(host="127.0.0.1"):
    with socket.socket() as probe:
        probe.bind((host, 0))
        return probe.getsockname()[1]


def eventually(what, is_so, seconds=30):
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.05)


class Process:
    """A process and its children, in a session of their own, which end with the test."""

    def __init__(self, arguments, log, environment):
        self.arguments, self.log, self.environment = arguments, log, environment
        self.process = None

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.arguments, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=self.environment, start_new_session=True
            )

    def kill(self):
        """All of it at once, as when a machine is lost."""
        if self.process and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        if self.process:
            self.process.wait(20)

    def children(self):
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]


class Replica(Process):
    """One kes under its supervisor."""

    def __init__(self, stack, number, host):
        self.host, self.port, self.folder = host, free_port(host), stack.folder
        config = stack.folder / f"kes-{number}.yaml"
        config.write_text(stack.config(f"{host}:{self.port}"))
        super().__init__([KES, "supervise", "server", "--config", str(config)], stack.folder / f"kes-{number}.log", {})

    def answers(self):
        try:
            return self.successes() is not None
        except OSError:
            return False

    def successes(self):
        """Requests that it answered with 200 so far."""
        return self.count(SUCCESSES)

    def failures(self):
        """Requests that it answered with 5xx so far."""
        return self.count(FAILURES)

    def count(self, metric):
        tls = ssl.create_default_context(cafile=str(self.folder / "server.crt"))
        tls.load_cert_chain(self.folder / "admin.crt", self.folder / "admin.key")
        connection = http.client.HTTPSConnection(self.host, self.port, context=tls, timeout=5)
        try:
            connection.request("GET", "/v1/metrics")
            return sum(int(count) for count in metric.findall(connection.getresponse().read().decode()))
        finally:
            connection.close()


class Stack:
    def __init__(self, folder, hosts, keystore=None):
        """With a folder as keystore, or what `keystore` says in YAML."""
        self.folder = Path(folder)
        self.keystore = keystore or f"  fs:\n    path: {self.folder}/keys\n"
        addresses = [f"--ip={host}" for host in sorted({"127.0.0.1", *hosts})]
        self.identities = {name: self.identity(name, addresses) for name in ("server", "admin", "minio")}
        self.replicas = [Replica(self, number, host) for number, host in enumerate(hosts)]
        self.address, console = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        drives = str(self.folder / "drive{1...4}")
        self.minio = Process(
            [MINIO, "server", drives, "--address", self.address, "--console-address", console, "--quiet"],
            self.folder / "minio.log",
            self.minio_environment(),
        )

    def identity(self, name, addresses):
        files = ["--key", str(self.folder / f"{name}.key"), "--cert", str(self.folder / f"{name}.crt")]
        subprocess.run([KES, "identity", "new", *files, *addresses], check=True, capture_output=True, timeout=20)
        said = subprocess.run([KES, "identity", "of", files[3]], check=True, capture_output=True, text=True, timeout=20)
        return re.search(r"[0-9a-f]{64}", said.stdout).group(0)

    def config(self, address):
        allowed = "\n".join(f"    - {path}" for path in ALLOWED)
        return (
            f"address: {address}\nadmin:\n  identity: {self.identities['admin']}\n"
            f"tls:\n  key: {self.folder}/server.key\n  cert: {self.folder}/server.crt\n"
            f"policy:\n  minio:\n    allow:\n{allowed}\n    identities: [{self.identities['minio']}]\n"
            f"keystore:\n{self.keystore}"
        )

    def minio_environment(self):
        return {
            "HOME": str(self.folder),
            "MINIO_CI_CD": "1",
            "MINIO_UPDATE": "off",
            "MINIO_ROOT_USER": "failover-user",
            "MINIO_ROOT_PASSWORD": "failover-password",
            "MINIO_KMS_KES_ENDPOINT": ",".join(f"https://{kes.host}:{kes.port}" for kes in self.replicas),
            "MINIO_KMS_KES_CERT_FILE": str(self.folder / "minio.crt"),
            "MINIO_KMS_KES_KEY_FILE": str(self.folder / "minio.key"),
            "MINIO_KMS_KES_CAPATH": str(self.folder / "server.crt"),
            "MINIO_KMS_KES_KEY_NAME": KEY,
        }

    def start(self):
        for replica in self.replicas:
            replica.start()
        for replica in self.replicas:
            eventually(f"kes on port {replica.port} answers", replica.answers)
        self.minio.start()
        eventually("MinIO is ready", self.minio_is_ready, 60)

    def minio_is_ready(self):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", "/minio/health/cluster")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def busy(self):
        """The replica that answers most of the requests now."""
        running = [kes for kes in self.replicas if kes.process.poll() is None]
        before = [kes.successes() for kes in running]
        time.sleep(1)
        return max(zip(running, before), key=lambda pair: pair[0].successes() - pair[1])[0]

    def stop(self):
        for process in [self.minio, *self.replicas]:
            process.kill()
