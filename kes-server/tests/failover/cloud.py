"""AWS Secrets Manager, played by moto, which verifies signatures and the minimal policy; and a way to it that can be shut."""

import json
import os
import socket
import subprocess
import threading
from pathlib import Path

from stack import free_port

# the interpreter that has moto
PYTHON = os.environ["KESTACK_PYTHON"]
JUDGE = Path(__file__).parent.parent / "keystores/judges/aws.py"
POLICY = [f"secretsmanager:{action}" for action in ("CreateSecret", "DeleteSecret", "GetSecretValue", "ListSecrets")]


def judge(*arguments):
    said = subprocess.run([PYTHON, "-B", JUDGE, *arguments], check=True, capture_output=True, text=True, timeout=60)
    return json.loads(said.stdout)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def user(moto):
    """Access key and secret key of a user who may do what the policy allows."""
    return judge("user", moto, "kes", json.dumps(POLICY))


def keystore(endpoint, access_key, secret_key):
    return (
        f"  aws:\n    secretsmanager:\n      endpoint: {endpoint}\n      region: eu-central-1\n"
        f"      credentials:\n        accesskey: {access_key}\n        secretkey: {secret_key}\n"
    )


class Gate:
    """A way to a port of this machine. Shut, it refuses what comes and cuts what is open; stalled, it lets nothing pass."""

    def __init__(self, target):
        self.target, self.port = target, free_port()
        self.passing, self.pairs = threading.Event(), []
        self.passing.set()
        self.open()

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def shut(self):
        # wakes the thread that waits in it, which a mere `close` would not
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        pairs, self.pairs = self.pairs, []
        for end in (end for pair in pairs for end in pair):
            cut(end)

    def stall(self):
        self.passing.clear()

    def flow(self):
        self.passing.set()

    def accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((client, server))
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self.copy, args=(source, sink), daemon=True).start()

    def copy(self, source, sink):
        try:
            while data := source.recv(65536):
                self.passing.wait()
                sink.sendall(data)
        except OSError:
            pass
        cut(source)
        cut(sink)


def cut(end):
    try:
        end.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was faster
    end.close()
