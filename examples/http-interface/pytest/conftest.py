"""A sandbox for each test, and the proof at the end. KESTACK_INTERFACE names the stack's interface.json."""
import json, os, urllib.request
import pytest

INTERFACE = json.load(open(os.environ["KESTACK_INTERFACE"]))

def ask(method, path, body=None):
    headers = {"Authorization": "Bearer " + INTERFACE["token"], "Content-Type": "application/json"}
    data = json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(INTERFACE["url"] + path, data, headers, method=method)
    return json.load(urllib.request.urlopen(request, timeout=60))

@pytest.fixture
def sandbox():
    made = ask("POST", "/v1/sandboxes", {"lease_seconds": 600})
    yield made
    ask("DELETE", f"/v1/sandboxes/{made['name']}")

@pytest.fixture(scope="session", autouse=True)
def proof():
    yield
    assert ask("POST", "/v1/verify")["proven"]
