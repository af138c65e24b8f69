"""The scripts of the package `kes`, with a systemd that refuses."""

import subprocess

import pytest

from conftest import ROOT


@pytest.mark.parametrize("script, call, said", [
    ("postinstall", "configure", "the new version has not started yet"),
    ("preremove", "remove", "could not be stopped"),
    ("postremove", "remove", "the keys in it"),
])
def test_a_service_that_fails_does_not_leave_packages_half_installed(tmp_path, script, call, said):
    for tool in ("systemctl", "systemd-sysusers", "systemd-tmpfiles"):
        (tmp_path / tool).write_text(f"#!/bin/sh\necho {tool} \"$@\" >>{tmp_path}/calls\n[ {tool} != systemctl ]\n")
        (tmp_path / tool).chmod(0o755)
    (tmp_path / "keys").mkdir()
    text = (ROOT / "release/packages" / script).read_text()
    assert "/run/systemd/system" in text
    text = text.replace("/run/systemd/system", str(tmp_path)).replace("/var/lib/kes", str(tmp_path / "keys"))
    done = subprocess.run(
        ["sh", "-c", text, script, call], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True,
        timeout=20, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout + done.stderr and "systemctl" in (tmp_path / "calls").read_text()
