"""As much of a Vault as kes needs, with faults: logins that are refused, an outage, answers that are late."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = "of the role"
# seconds that a token is valid: kes renews it before
LEASE = 3


class Vault:
    def __init__(self):
        self.entries, self.is_revoked, self.is_down, self.delay = {}, False, False, 0
        vault = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                status, said = vault.answer(self.command, self.path.partition("?")[0], body)
                text = json.dumps(said).encode() if said is not None else b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, method, path, body):
        path = path.removeprefix("/v1/")
        if self.is_down:
            return 501, {"errors": ["down"]}
        if path == "sys/health":
            return 200, {"initialized": True, "sealed": False, "standby": False, "version": "1.15.0"}
        if self.is_revoked or (path == "auth/approle/login" and body.get("secret_id") != SECRET):
            return 403, {"errors": ["permission denied"]}
        if path in ("auth/approle/login", "auth/token/renew-self"):
            return 200, {"auth": {"client_token": "token", "lease_duration": LEASE, "renewable": False}}
        time.sleep(self.delay)
        return self.entry(method, path, body)

    def entry(self, method, path, body):
        if method == "DELETE":
            self.entries.pop(path, None)
            return 204, None
        if method == "PUT":
            self.entries[path] = body
            return 204, None
        return (200, {"data": self.entries[path]}) if path in self.entries else (404, {"errors": []})

    def stop(self):
        self.server.shutdown()
