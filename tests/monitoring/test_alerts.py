"""Real faults make a real Prometheus fire each alert, and their end clears it."""

import contextlib
import itertools

import pytest
from stack import eventually
from watched import again

FAULTS = {}


def fault(*alerts):
    """A fault, and the alerts that it fires."""

    def known(body):
        FAULTS[body.__name__] = (contextlib.contextmanager(body), alerts)
        return body

    return known


@fault(("KesDown", "stack"))
def kes_is_stopped(stack, _kes, _prometheus):
    with stack.chaos("kes-down"):
        yield


@fault(("KesDown", "stack"))
def the_certificate_has_expired(stack, _kes, _prometheus):
    with stack.chaos("cert-expired"):
        yield


@fault(("KesRefusesRequests", "stack"))
def minio_lost_its_policy(stack, _kes, _prometheus):
    with stack.chaos("kes-deny"):
        yield


@fault(("KesKeystoreFails", "stack"))
def the_folder_of_keys_is_read_only(stack, _kes, _prometheus):
    with stack.chaos("keystore-readonly"):
        yield


@fault(("KesRestarts", "stack"))
def kes_comes_and_goes(stack, _kes, _prometheus):
    with stack.chaos("kes-flap"):
        yield


@fault(("KesCertificateEndsSoon", "stack"), ("KesCertificateEnds", "stack"))
def nobody_renews_the_certificate(stack, _kes, _prometheus):
    stack.expire_in(2)
    yield
    stack.run("up")


@fault(("KesNotWatched", None))
def prometheus_has_no_target(_stack, _kes, prometheus):
    prometheus.target(False)
    yield
    prometheus.target(True)


@fault(("KesLoginFails", "kes"))
def the_token_is_revoked(_stack, kes, _prometheus):
    kes.vault.is_revoked = True
    yield
    kes.vault.is_revoked = False


@fault(("KesServesFromCache", "kes"), ("KesRequestsFail", "kes"), ("KesKeystoreFails", "kes"))
def the_vault_is_down(_stack, kes, _prometheus):
    names = itertools.count()
    kes.vault.is_down = True
    with again(lambda: (kes.ask("key", "dek", "kept"), kes.ask("key", "dek", f"other-{next(names)}"))):
        yield
    kes.vault.is_down = False


@fault(("KesSlow", "kes"), ("KesKeystoreSlow", "kes"))
def the_vault_is_slow(_stack, kes, _prometheus):
    names = itertools.count()
    kes.vault.delay = 1.3
    with again(lambda: kes.ask("key", "dek", f"missing-{next(names)}")):
        yield
    kes.vault.delay = 0


@fault(("KesClientCertificateEndsSoon", None))
def a_client_does_not_renew_its_certificate(_stack, kes, _prometheus):
    kes.issue("client", 5)
    assert kes.ask("status")
    yield
    kes.issue("client", 365)
    assert kes.ask("status")


@fault(("KesRefusesCertificates", "kes"))
def a_client_has_an_expired_certificate(_stack, kes, _prometheus):
    kes.issue("client", -1)
    with again(lambda: kes.ask("status")):
        yield
    kes.issue("client", 365)


@fault(("KesAuthorityEndsSoon", "kes"))
def the_ca_ends(_stack, kes, _prometheus):
    kes.reissue_ca(20)
    yield
    kes.reissue_ca(3650)


@fault(("KesKeysNotLocked", "kes"))
def kes_may_not_lock_memory(_stack, kes, _prometheus):
    kes.process.kill()
    kes.start("setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=0:0")
    yield
    kes.process.kill()
    kes.start()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fires_its_alerts_and_its_end_clears_them(everything, name):
    prometheus = everything[-1]
    begun, alerts = FAULTS[name]
    eventually("the former fault is over", lambda: not prometheus.firing().keys() & set(alerts), 60)
    with begun(*everything):
        eventually(f"{alerts} fire", lambda: prometheus.firing().keys() >= set(alerts), 60)
        for alert in prometheus.firing().values():
            said = " ".join(alert["annotations"].values())
            assert "error" not in said and "no value" not in said, said
    eventually(f"{alerts} are over", lambda: not prometheus.firing().keys() & set(alerts), 60)
