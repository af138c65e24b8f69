"""hvac against a Vault: `write URL` puts keys there for kes, `read URL` checks and deletes what kes wrote.

It ends with an error if anything is not as it should be.
"""

import base64
import json
import sys

import hvac
from hvac.exceptions import Forbidden, InvalidPath, InvalidRequest

# the reference form of a key (AES256)
VALUE = (
    "CiQKIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4fEAESJAogICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8QARoICKX6zawGEAYiBW1pbmlv"
)
TWICE = base64.b64encode(VALUE.encode()).decode()


def refused(kind, call, **arguments):
    try:
        call(**arguments)
    except kind:
        return
    raise AssertionError(f"{call.__name__} {arguments} was not refused with {kind.__name__}")


def login(url):
    client = hvac.Client(url=url)
    refused(InvalidRequest, client.auth.approle.login, role_id="kes-role", secret_id="wrong")
    granted = client.auth.approle.login(role_id="kes-role", secret_id="kes-secret")["auth"]
    assert granted["lease_duration"] == 3600 and granted["renewable"], granted
    assert client.is_authenticated()
    assert client.auth.token.renew_self()["auth"]["client_token"] == client.token
    return client


def health(url):
    root = hvac.Client(url=url, token="root")
    state = root.sys.read_health_status(method="GET")
    assert state["initialized"] and not state["sealed"], state
    assert root.sys.is_initialized() and not root.sys.is_sealed()
    root.sys.seal()
    assert root.sys.is_sealed()
    assert root.sys.read_health_status(method="HEAD").status_code == 503
    root.sys.submit_unseal_key("key")
    assert not root.sys.is_sealed()


def write(url):
    health(url)
    client = login(url)
    kv1, kv2, transit = client.secrets.kv.v1, client.secrets.kv.v2, client.secrets.transit
    refused(InvalidPath, kv1.list_secrets, path="", mount_point="kv")
    kv1.create_or_update_secret("theirs", {"theirs": VALUE}, mount_point="kv")
    refused(Forbidden, kv1.create_or_update_secret, path="theirs", secret={"a": "b"}, mount_point="kv")
    kv2.create_or_update_secret("theirs", {"theirs": VALUE}, cas=0, mount_point="kv2")
    refused(Forbidden, kv2.create_or_update_secret, path="theirs", secret={"a": "b"}, mount_point="kv2")
    root = hvac.Client(url=url, token="root").secrets.kv.v2
    refused(InvalidRequest, root.create_or_update_secret, path="theirs", secret={"a": "b"}, cas=0, mount_point="kv2")
    sealed = transit.encrypt_data("kes", plaintext=TWICE)["data"]["ciphertext"]
    assert sealed.startswith("vault:v1:"), sealed
    kv2.create_or_update_secret("secure/theirs", {"theirs": sealed}, cas=0, mount_point="kv2")
    hvac.Client(url=url, token="root").secrets.transit.rotate_key("kes")
    return "written"


def read(url):
    client = login(url)
    kv1, kv2 = client.secrets.kv.v1, client.secrets.kv.v2
    assert kv1.list_secrets(path="", mount_point="kv")["data"]["keys"] == ["ours", "theirs"]
    assert kv2.list_secrets(path="", mount_point="kv2")["data"]["keys"] == ["ours", "secure/", "theirs"]
    assert kv1.read_secret("ours", mount_point="kv")["data"] == {"ours": VALUE}
    entry = kv2.read_secret_version("ours", version=1, mount_point="kv2", raise_on_deleted_version=True)["data"]
    assert entry["data"] == {"ours": VALUE} and entry["metadata"]["version"] == 1, entry
    entry = kv2.read_secret_version("secure/ours", mount_point="kv2", raise_on_deleted_version=True)["data"]
    sealed = entry["data"]["ours"]
    assert sealed.startswith("vault:v2:"), sealed
    assert client.secrets.transit.decrypt_data("kes", ciphertext=sealed)["data"]["plaintext"] == TWICE
    kv1.delete_secret("ours", mount_point="kv")
    kv2.delete_metadata_and_all_versions("ours", mount_point="kv2")
    client.logout(revoke_token=True)
    assert not client.is_authenticated()
    return "read"


if __name__ == "__main__":
    print(json.dumps({"write": write, "read": read}[sys.argv[1]](sys.argv[2])))
