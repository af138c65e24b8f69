"""`install.sh` against a server of its own: right, wrong and cut downloads, and machines that it is not for."""

import os
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import ROOT, fails, run

SCRIPT = ROOT / "release/install.sh"


class Handler(SimpleHTTPRequestHandler):
    """Serves a folder; of a file that is `cut` it sends the first half, and of its length the truth."""

    cut = None

    def copyfile(self, source, outputfile):
        if self.cut and self.path.endswith(self.cut):
            content = source.read()
            outputfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            super().copyfile(source, outputfile)

    def log_message(self, *_):
        pass


@pytest.fixture
def served(dist, version, tmp_path):
    """A server of releases; its folder, and the environment that names it."""
    folder = tmp_path / "served/download" / f"v{version}"
    folder.mkdir(parents=True)
    for file in dist.iterdir():
        if file.name == "SHA256SUMS" or file.suffix == ".gz":
            shutil.copy(file, folder)
    latest = tmp_path / "served/latest"
    latest.mkdir()
    (latest / "download").symlink_to(folder)
    handler = type("Of", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=tmp_path / "served"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        "PATH": "/usr/bin:/bin", "HOME": str(tmp_path / "home"),
        "KESTACK_RELEASES": f"http://127.0.0.1:{server.server_port}",
    }
    yield folder, environment, handler
    server.shutdown()


def archive(folder):
    return next(folder.glob("kestack-*.tar.gz"))


def test_the_newest_release_goes_into_the_home(served, version, tmp_path):
    _, environment, _ = served
    said = run("sh", SCRIPT, env=environment)
    place = tmp_path / "home/.local/bin"
    assert f"kestack {version}" in said and "add it to PATH" in said
    assert version in run(place / "kestack", "--version") and version in run(place / "kes", "--version")
    assert oct((place / "kestack").stat().st_mode)[-3:] == "755"
    assert sorted(os.listdir(place)) == ["kes", "kestack"]


def test_a_named_version_replaces_programs_that_run(served, version, tmp_path):
    _, environment, _ = served
    place = tmp_path / "a place/with blanks"
    place.mkdir(parents=True)
    shutil.copy("/bin/sleep", place / "kes")
    with open(place / "kes", "rb"):
        run("sh", SCRIPT, "--version", f"v{version}", "--to", place, env=environment)
    assert version in run(place / "kes", "--version")
    assert sorted(os.listdir(place)) == ["kes", "kestack"]


def test_a_temporary_folder_that_runs_no_programs_is_not_needed(served, tmp_path):
    """As /tmp is on many servers: mounted with noexec, here not even there."""
    _, environment, _ = served
    run("sh", SCRIPT, "--to", tmp_path / "bin", env=environment | {"TMPDIR": str(tmp_path / "absent")})
    assert sorted(os.listdir(tmp_path / "bin")) == ["kes", "kestack"]


def test_programs_that_do_not_run_are_not_installed(served, untouched):
    folder, environment, _ = served
    name = archive(folder).name
    inner = untouched.parent / name.removesuffix(".tar.gz")
    inner.mkdir()
    for program in ("kestack", "kes"):
        (inner / program).write_text("#!/absent\n")
        (inner / program).chmod(0o755)
    run("tar", "-C", untouched.parent, "-czf", archive(folder), inner.name)
    run("sh", "-c", "sha256sum -- *.tar.gz >SHA256SUMS", cwd=folder)
    said = fails("sh", SCRIPT, "--to", untouched, env=environment)
    assert f"the program does not run in '{untouched}'" in said and "noexec" in said


def test_wget_does_where_there_is_no_curl(served, version, tmp_path):
    _, environment, _ = served
    tools = tmp_path / "tools"
    tools.mkdir()
    wanted = "wget sh awk uname mktemp mkdir rm sed tar gzip sha256sum mv chmod".split()
    if not shutil.which("wget"):
        pytest.skip("needs wget")
    for tool in wanted:
        (tools / tool).symlink_to(shutil.which(tool))
    run("sh", SCRIPT, "--to", tmp_path / "bin", env=environment | {"PATH": str(tools)})
    assert version in run(tmp_path / "bin/kestack", "--version")


@pytest.fixture
def untouched(tmp_path):
    """A folder with an older program, which a refusal leaves as it is."""
    place = tmp_path / "bin"
    place.mkdir()
    (place / "kestack").write_text("older")
    yield place
    assert [path.name for path in place.iterdir()] == ["kestack"] and (place / "kestack").read_text() == "older"


def test_a_wrong_hash_is_refused(served, untouched):
    folder, environment, _ = served
    with open(archive(folder), "r+b") as file:
        file.seek(1000)
        file.write(b"changed on its way")
    said = fails("sh", SCRIPT, "--to", untouched, env=environment)
    assert "the SHA-256" in said and "nothing was installed" in said


def test_a_download_that_is_cut_is_refused(served, untouched):
    folder, environment, handler = served
    handler.cut = archive(folder).name
    assert "cannot download" in fails("sh", SCRIPT, "--to", untouched, env=environment)
    handler.cut = "SHA256SUMS"
    assert "install.sh: " in fails("sh", SCRIPT, "--to", untouched, env=environment)


def test_a_script_that_is_cut_does_nothing(served, untouched):
    _, environment, _ = served
    text = SCRIPT.read_text()
    for part in (len(text) // 2, text.rindex("main ")):
        cut = untouched.parent / "cut.sh"
        cut.write_text(text[:part])
        os.system(f"PATH=/usr/bin:/bin sh '{cut}' >/dev/null 2>&1")


def test_a_release_that_is_not_there_is_refused(served, untouched):
    _, environment, _ = served
    said = fails("sh", SCRIPT, "--version", "9.9.9", "--to", untouched, env=environment)
    assert "cannot download" in said and "/v9.9.9/" in said


@pytest.mark.parametrize("system, machine, why", [
    ("Darwin", "arm64", "kestack runs on Linux; this is Darwin"), ("Linux", "riscv64", "no programs for riscv64"),
])
def test_another_machine_is_refused(served, untouched, tmp_path, system, machine, why):
    _, environment, _ = served
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "uname").write_text(f"#!/bin/sh\n[ \"$1\" = -s ] && echo {system} || echo {machine}\n")
    (tools / "uname").chmod(0o755)
    assert why in fails("sh", SCRIPT, "--to", untouched, env=environment | {"PATH": f"{tools}:/usr/bin:/bin"})


def test_a_release_without_this_machine_is_refused(served, untouched):
    folder, environment, _ = served
    (folder / "SHA256SUMS").write_text(f"{'0' * 64}  kestack-1.0.0-riscv64-unknown-linux-gnu.tar.gz\n")
    assert "no programs for" in fails("sh", SCRIPT, "--to", untouched, env=environment)


def test_a_folder_that_cannot_be_written_and_a_strange_option_are_refused(served, tmp_path):
    _, environment, _ = served
    (tmp_path / "file").write_text("")
    assert "cannot write to" in fails("sh", SCRIPT, "--to", tmp_path / "file/bin", env=environment)
    assert "'--root' is not known" in fails("sh", SCRIPT, "--root", env=environment)
    assert "--to FOLDER" in run("sh", SCRIPT, "--help", env=environment)
