"""The files of a release, made once from the programs that KESTACK_BIN names."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = Path(os.environ["KESTACK_BIN"]).parent


def run(*command, **more):
    """Runs it to its end, which must come, and returns what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=more.pop("timeout", 120), **more)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def fails(*command, **more):
    """Runs it; it must fail, and returns what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, **more)
    assert done.returncode not in (0, None), f"{command}\n{done.stdout}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def version():
    return run(PROGRAMS / "kestack", "--version").split()[1]


@pytest.fixture(scope="session")
def target():
    return run("rustc", "--print", "host-tuple").strip()


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    """The folder of all files; KESTACK_RELEASE names one that is there."""
    if made := os.environ.get("KESTACK_RELEASE"):
        return Path(made)
    out = tmp_path_factory.mktemp("release") / "dist"
    run(ROOT / "release/make", out, timeout=300)
    return out
