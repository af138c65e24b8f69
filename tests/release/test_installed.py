"""The packages, installed for real: in a bare Debian, made by debootstrap, and under a systemd of its own. Needs root."""

import os
import re
import shutil
import subprocess
import threading
import time
from pathlib import Path

import pytest

from conftest import PROGRAMS, ROOT, run

pytestmark = pytest.mark.skipif(not os.environ.get("KESTACK_RELEASE_INSTALL"), reason="only in the complete tier")

CACHE = Path(os.environ.get("KESTACK_CACHE") or Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "kestack")


@pytest.fixture
def debian(tmp_path):
    """A bare Debian of its own."""
    bare = CACHE / "debian"
    if not bare.exists():
        making = CACHE / "debian.making"
        shutil.rmtree(making, ignore_errors=True)
        run("debootstrap", "--variant=minbase", "bookworm", making, timeout=600)
        making.rename(bare)
    root = tmp_path / "debian"
    run("cp", "-a", "--reflink=auto", bare, root)
    yield root
    run("rm", "-rf", "--one-file-system", root)


def inside(root, script, **more):
    """Runs a script there, in namespaces that end with it, and without any network but the loopback."""
    outer = "ip link set lo up; mount -t proc proc \"$0/proc\"; mount -t tmpfs tmpfs \"$0/tmp\"; exec chroot \"$0\" sh -ec \"$1\""
    more["env"] = {"PATH": os.environ["PATH"]}
    return run("unshare", "--mount", "--net", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-ec", outer, root, script, **more)


def test_the_debs_work_in_a_bare_debian(debian, dist, version):
    for file in dist.glob("*.deb"):
        shutil.copy(file, debian / "root")
    shutil.copy(os.environ["MINIO_BINARY"], debian / "usr/local/bin/minio")
    said = inside(debian, f"""
        export HOME=/root PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        dpkg -i /root/kes_{version}-1_amd64.deb /root/kestack_{version}-1_amd64.deb
        stat -c '%U:%G %a %n' /var/lib/kes /etc/kes /etc/kes/config.yaml
        useradd --create-home user
        cat >/tmp/work <<'END'
        set -e
        kestack --version
        kestack up --engine process
        kestack verify
        kestack down --data
END
        su user -c 'cd && sh /tmp/work'
        touch /var/lib/kes/key
        dpkg --purge kestack kes
        ls /var/lib/kes
    """, timeout=180)
    for part in (
        "kes:kes 700 /var/lib/kes", "root:kes 750 /etc/kes", "root:kes 640 /etc/kes/config.yaml", f"kestack {version} ",
        "proven: this stack encrypts", "its data is removed", "/var/lib/kes stays",
    ):
        assert part in said, f"{part!r} is missing in:\n{said}"
    assert said.splitlines()[-1] == "key", "the keys stay"
    assert not (debian / "usr/bin/kes").exists()


class Machine:
    """A container that systemd is the first process of, with this host's files below an overlay."""

    def __init__(self, folder):
        self.name = f"kr-systemd-{os.getpid()}"
        shutil.copy(ROOT / "tests/export/boot", folder / "boot")
        memory = [f"--tmpfs={path}:notmpcopyup" for path in ("/tmp", "/run", "/run/lock", "/var/log/journal")]
        opened = [f"--security-opt={it}" for it in ("unmask=ALL", "seccomp=unconfined", "apparmor=unconfined")]
        run(
            "podman", "run", "--detach", "--name", self.name, "--systemd=always", "--network=none",
            "--cap-add=SYS_ADMIN,IPC_LOCK", *opened, *memory, f"--volume={folder}:{folder}", f"--volume={PROGRAMS}:{PROGRAMS}",
            "--rootfs", "/:O", "sh", folder / "boot",
        )
        self.until("systemctl is-system-running", "running")

    def ok(self, script, **more):
        return run("podman", "exec", self.name, "sh", "-ec", script, **more)

    def until(self, script, answer):
        end = time.monotonic() + 60
        while (said := self.ok(f"{script} || true").strip()) != answer:
            assert time.monotonic() < end, f"{script}: {said}"
            time.sleep(0.1)

    def end(self):
        subprocess.run(["podman", "rm", "--force", "--time", "1", self.name], capture_output=True, timeout=60, check=False)


@pytest.fixture
def machine(tmp_path):
    found = Machine(tmp_path)
    yield found
    found.end()


def upgrade(dist, version, folder):
    """The package of the next version, with the same program."""
    run("dpkg-deb", "--raw-extract", dist / f"kes_{version}-1_amd64.deb", folder / "next")
    control = folder / "next/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {version}-1", "Version: 9.0.0-1"))
    run("dpkg-deb", "--build", "--root-owner-group", folder / "next", folder / "next.deb")
    return folder / "next.deb"


@pytest.mark.skipif(not shutil.which("podman"), reason="needs Podman")
def test_the_service_runs_under_systemd_through_an_upgrade(machine, dist, version, tmp_path):
    deb, following = tmp_path / "kes.deb", upgrade(dist, version, tmp_path)
    shutil.copy(dist / f"kes_{version}-1_amd64.deb", deb)
    machine.ok(f"dpkg -i {deb}")
    assert machine.ok("systemctl is-enabled kes || true; systemctl is-active kes || true").split() == ["disabled", "inactive"]
    # the example is not started: it says what to do
    machine.ok("systemctl start kes")
    assert machine.ok("systemctl is-active kes || true").strip() == "inactive"
    assert "remove its line: # not edited" in machine.ok("journalctl --unit kes --no-pager")
    machine.ok("""
        cd /etc/kes
        kes identity new --ip 127.0.0.1 --key server.key --cert server.crt server >/dev/null
        kes identity new --key /root/client.key --cert /root/client.crt client >/dev/null
        chgrp kes server.key server.crt && chmod 640 server.key
        echo "MINIO_KES_IDENTITY=$(kes identity of /root/client.crt)" >environment
        chmod 600 environment
        sed -i '/^# not edited/d; s/0.0.0.0/127.0.0.1/' config.yaml
        systemctl enable --now kes
    """)
    assert machine.ok("systemctl is-active kes").strip() == "active"
    assert machine.ok("grep CapEff /proc/$(systemctl show --property MainPID --value kes)/status").split()[1] == f"{0x4000:016x}"
    client = "KES_SERVER=https://127.0.0.1:7373 KES_CLIENT_KEY=/root/client.key KES_CLIENT_CERT=/root/client.crt kes"
    machine.ok(f"{client} key create -k kept")
    sealed = re.search(r"ciphertext\W+([A-Za-z0-9+/=]{40,})", machine.ok(f"{client} key dek -k kept"))[1]

    before = machine.ok("systemctl show --property MainPID --value kes")
    work = f"""
        end=$(($(date +%s) + 30)); ok=0 again=0 lost=0
        call() {{ {client} key dek -k kept >/dev/null 2>&1; }}
        while [ ! -e /tmp/stop ] && [ $(date +%s) -lt $end ]; do
            tries=0
            until call || [ $tries -ge 40 ]; do tries=$((tries + 1)); sleep 0.05; done
            if [ $tries -lt 40 ]; then ok=$((ok + 1)); else lost=$((lost + 1)); fi
            again=$((again + tries))
        done; echo $ok $again $lost
    """
    said = []
    writer = threading.Thread(target=lambda: said.append(machine.ok(work)))
    writer.start()
    time.sleep(2)
    machine.ok(f"dpkg -i {following}")
    machine.until("systemctl is-active kes", "active")
    time.sleep(2)
    machine.ok("touch /tmp/stop")
    writer.join(60)
    done, again, lost = map(int, said[0].split())
    print(f"calls while kes was upgraded: {done} answered, {again} tries were refused, {lost} calls lost")
    assert done > 20 and lost == 0, "whoever tries again within two seconds gets the answer"
    assert machine.ok("systemctl show --property MainPID --value kes") != before, "the new program runs"
    assert "not edited" not in machine.ok("cat /etc/kes/config.yaml"), "an upgrade keeps the configuration"
    machine.ok(f"{client} key decrypt -k kept '{sealed}'")

    machine.ok("dpkg --purge kes")
    assert machine.ok("ls /var/lib/kes/keys").split() == ["kept"]
    assert machine.ok("systemctl is-active kes || true").strip() == "inactive"
