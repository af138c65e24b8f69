"""A Prometheus with the alerts of deploy/monitoring/, for which a minute lasts a second, and the two that it watches: the KES of
a stack, and a kes with a Vault and a CA."""

import contextlib
import json
import os
import re
import subprocess
import threading
import urllib.parse
import urllib.request
from pathlib import Path

import yaml
from stack import KES, Process, eventually, free_port
from vault import SECRET, Vault

MONITORING = Path(__file__).resolve().parents[2] / "deploy/monitoring"
KESTACK = os.environ["KESTACK_BIN"]
KEY = "-pkeyopt ec_paramgen_curve:P-256 -nodes".split()


def rules():
    return yaml.safe_load((MONITORING / "kes-alerts.yaml").read_text())


def fast(minutes):
    """Each minute as a second."""
    return re.sub(r"\b(\d+)m\b", r"\1s", minutes)


def openssl(folder, *arguments):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)


def ask(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


@contextlib.contextmanager
def again(work):
    """Does something again and again, meanwhile."""
    over = threading.Event()

    def loop():
        while not over.wait(0.1):
            work()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)


class Prometheus:
    def __init__(self, folder, watched):
        self.folder, self.watched, self.port = folder, watched, free_port()
        made = rules()
        for rule in made["groups"][0]["rules"]:
            rule["expr"] = fast(rule["expr"])
            rule["for"] = fast(rule.get("for", "0s"))
        (folder / "rules.yaml").write_text(yaml.safe_dump(made))
        jobs = [self.job(name, one) for name, one in watched.items()]
        clock = {"scrape_interval": "400ms", "scrape_timeout": "400ms", "evaluation_interval": "400ms"}
        config = {"global": clock, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self.target(True)
        options = {
            "config.file": folder / "prometheus.yaml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        arguments = [f"--{name}={value}" for name, value in options.items()]
        self.process = Process(["prometheus", *arguments], folder / "prometheus.log", {"HOME": str(folder), "GOMAXPROCS": "1"})

    def start(self):
        self.process.start()
        eventually("Prometheus has seen both", lambda: self.has(f'count(up{{job="kes"}} == 1) == {len(self.watched)}'), 60)

    def job(self, name, one):
        return {
            "job_name": name,
            "scheme": "https",
            "metrics_path": "/v1/metrics",
            "tls_config": one.tls(),
            "file_sd_configs": [{"files": [f"{name}.json"]}],
            # the rules look for this job
            "relabel_configs": [
                {"target_label": "job", "replacement": "kes"},
                {"target_label": "instance", "replacement": name},
            ],
        }

    def target(self, is_there):
        for name, one in self.watched.items():
            file = self.folder / f"{name}.json"
            file.with_suffix(".new").write_text(json.dumps([{"targets": [one.address]}] if is_there else []))
            file.with_suffix(".new").rename(file)

    def url(self, path, **query):
        return f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"

    def query(self, expression):
        return ask(self.url("query", query=expression))["result"]

    def has(self, expression):
        try:
            return bool(self.query(expression))
        except OSError:
            return False  # it starts

    def firing(self):
        """The alerts that fire, with the server if they have one."""
        alerts = ask(self.url("alerts"))["alerts"]
        return {(one["labels"]["alertname"], one["labels"].get("instance")): one for one in alerts if one["state"] == "firing"}


class Stack:
    """KES and MinIO, as `kestack up` makes them of processes."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "kestack.yaml").write_text(
            f"name: watched-{os.getpid()}\nengine: process\nkes: {{ port: 0 }}\nminio: {{ port: 0, console_port: 0 }}\n"
        )

    def start(self):
        self.run("up")
        status = json.loads(self.run("status", "--output", "json"))
        self.certs = Path(status["folder"]) / "certs"
        environment = self.run("env", "--shell", "sh")
        self.address = re.search(r"KES_(?:SERVER|ENDPOINT)='?https://([\d.:]+)", environment).group(1)

    def command(self, *arguments):
        environment = os.environ | {"KESTACK_DIR": str(self.folder / "stacks"), "KESTACK_FILE": str(self.folder / "kestack.yaml")}
        return {"args": [KESTACK, *arguments], "env": environment}

    def run(self, *arguments):
        return subprocess.run(**self.command(*arguments), check=True, capture_output=True, text=True, timeout=120).stdout

    def tls(self):
        names = {"ca_file": "ca.cert", "cert_file": "admin.cert", "key_file": "admin.key"}
        return {name: str(self.certs / file) for name, file in names.items()}

    @contextlib.contextmanager
    def chaos(self, fault):
        fault = subprocess.Popen(**self.command("chaos", fault, "--for", "90s", "--seed", "7"), stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            fault.terminate()
            assert fault.wait(90) == 143

    def expire_in(self, days):
        """KES's certificate again, as if it had been issued long ago."""
        openssl(self.certs, "req", "-new", "-key", "kes-server.key", "-subj", "/CN=kes", "-out", "new.csr")
        (self.certs / "new.cnf").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        issued = "x509 -req -in new.csr -CA ca.cert -CAkey ca.key -extfile new.cnf -out kes-server.cert".split()
        openssl(self.certs, *issued, "-days", str(days))

    def stop(self):
        self.run("down", "--data")


class Kes:
    """A kes that looks at its clients' certificates, and has its keys in a Vault."""

    def __init__(self, folder):
        self.folder, self.vault, self.address = folder, Vault(), f"127.0.0.1:{free_port()}"
        openssl(folder, "req", "-x509", "-newkey", "ec", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-days", "3650", "-subj", "/CN=ca")
        (folder / "names.cnf").write_text("subjectAltName=IP:127.0.0.1\n")
        for name in ("server", "monitor", "client"):
            openssl(folder, "req", "-new", "-newkey", "ec", *KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
            self.issue(name, 365)
        said = [subprocess.run([KES, "identity", "of", folder / f"{name}.crt"], check=True, capture_output=True, text=True).stdout for name in ("monitor", "client")]
        monitor, self.client = (re.search(r"[0-9a-f]{64}", text).group(0) for text in said)
        (folder / "config.yaml").write_text(
            f"address: {self.address}\nadmin: {{ identity: {self.client} }}\n"
            f"tls: {{ key: {folder}/server.key, cert: {folder}/server.crt, auth: on, ca: {folder}/ca.crt }}\n"
            f"policy: {{ monitor: {{ allow: [/v1/metrics], identities: [{monitor}] }} }}\n"
            "cache: { expiry: { any: 5m, unused: 5m, offline: 1h } }\n"
            f"keystore: {{ vault: {{ endpoint: {self.vault.endpoint}, approle: {{ id: role, secret: {SECRET} }} }} }}\n"
        )
        self.process = Process([], folder / "kes.log", {})

    def issue(self, name, days):
        issued = f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -extfile names.cnf -out {name}.crt".split()
        openssl(self.folder, *issued, "-days", str(days))

    def reissue_ca(self, days):
        openssl(self.folder, "req", "-x509", "-key", "ca.key", "-out", "ca.crt", "-days", str(days), "-subj", "/CN=ca")

    def start(self, *wrapper):
        self.process.arguments = [*wrapper, KES, "server", "--config", str(self.folder / "config.yaml")]
        self.process.start()
        eventually("kes answers", lambda: self.ask("status"))

    def ask(self, *arguments):
        """Whether the command line of kes, as the client, is served."""
        files = {"MINIO_KES_KEY_FILE": "client.key", "MINIO_KES_CERT_FILE": "client.crt"}
        environment = {name: str(self.folder / file) for name, file in files.items()} | {"KES_SERVER": f"https://{self.address}"}
        return not subprocess.run([KES, *arguments, "-k"], env=environment, capture_output=True, timeout=60).returncode

    def tls(self):
        names = {"ca_file": "ca.crt", "cert_file": "monitor.crt", "key_file": "monitor.key"}
        return {name: str(self.folder / file) for name, file in names.items()}

    def stop(self):
        self.process.kill()
        self.vault.stop()
