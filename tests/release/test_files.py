"""What the files of a release hold."""

import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tomllib

import pytest

from conftest import PROGRAMS, ROOT, run

MONITORING = {file.name: file.read_bytes() for file in (ROOT / "deploy/monitoring").iterdir()}
SHELLS = ("bash", "zsh", "fish", "ps1", "elv", "nu")


def test_every_file_is_in_the_list_of_hashes(dist, version, target):
    run("sha256sum", "--check", "--strict", "SHA256SUMS", cwd=dist)
    listed = {line.split()[1] for line in (dist / "SHA256SUMS").read_text().splitlines()}
    assert listed == {file.name for file in dist.iterdir()} - {"SHA256SUMS"}
    for name in (
        f"kestack-{version}-{target}.tar.gz", f"kestack-{version}-{target}.cdx.json", f"kes-{version}-{target}.cdx.json",
        f"kes_{version}-1_amd64.deb", f"kestack_{version}-1_amd64.deb", f"kes-{version}-1.x86_64.rpm",
        f"kestack-{version}-1.x86_64.rpm", f"kes-{version}-amd64.oci.tar",
        f"kestack-{version}-amd64.docker.tar", "install.sh",
    ):
        assert name in listed


def commands(program):
    """Every command of a program, with the names above it, as its manual pages are called."""
    pages = set()

    def look(words):
        pages.add("-".join([program, *words]))
        text = run(PROGRAMS / program, *words, "--help") if program == "kestack" else ""
        for line in text.partition("Commands:\n")[2].split("\n\n")[0].splitlines():
            found = re.match(r"  ([a-z][a-z-]*)", line)
            if found and found[1] != "help":
                look([*words, found[1]])

    look([])
    return pages


def test_the_archive_has_programs_pages_and_licences(dist, version, target):
    top = f"kestack-{version}-{target}"
    with tarfile.open(dist / f"{top}.tar.gz") as tar:
        members = {member.name: member for member in tar.getmembers()}
        licences = tar.extractfile(f"{top}/THIRD-PARTY.md").read().decode()
        monitoring = {
            name.rsplit("/", 1)[1]: tar.extractfile(name).read()
            for name, member in members.items() if name.startswith(f"{top}/monitoring/") and member.isfile()
        }
    assert all(name == top or name.startswith(f"{top}/") for name in members)
    assert all((member.uid, member.gid) == (0, 0) for member in members.values())
    assert len({member.mtime for member in members.values()}) == 1, "the time of the commit, and no other"
    for name in ("kestack", "kes"):
        assert members[f"{top}/{name}"].mode == 0o755
    for name in ("README.md", "LICENSE", "CHANGELOG.md"):
        assert f"{top}/{name}" in members
    assert monitoring == MONITORING and "kes-alerts.yaml" in monitoring
    for program in ("kestack", "kes"):
        for shell in SHELLS:
            assert members[f"{top}/completions/{program}.{shell}"].size > 1000
    pages = {name.rsplit("/", 1)[1].removesuffix(".1") for name in members if name.endswith(".1")}
    wanted = commands("kestack") | commands("kes")
    assert len(wanted) > 60 and wanted <= pages, wanted - pages
    for crate in ("aws-lc-sys", "hyper", "rustls", "tokio"):
        assert re.search(rf"^- {crate} \d", licences, re.MULTILINE), crate


def test_the_bill_of_materials_is_of_the_program(dist, version, target):
    for program, crate in (("kes", "aws-lc-rs"), ("kestack", "kes-server")):
        bom = json.loads((dist / f"{program}-{version}-{target}.cdx.json").read_text())
        about = bom["metadata"]["component"]
        assert (bom["bomFormat"], about["name"], about["version"]) == ("CycloneDX", program, version)
        assert about["hashes"][0]["content"] == hashlib.sha256((PROGRAMS / program).read_bytes()).hexdigest()
        parts = {part["name"]: part for part in bom["components"]}
        assert crate in parts and len(parts) > 100
        assert all(part["purl"].startswith("pkg:cargo/") and part["licenses"] for part in parts.values())
        for tests_only in ("proptest", "trycmd", "jsonschema"):
            assert tests_only not in parts


@pytest.mark.parametrize("crate, manifest", [("kestack", "Cargo.toml"), ("kes-server", "kes-server/Cargo.toml")])
def test_binstall_finds_the_archive(dist, version, target, crate, manifest):
    package = tomllib.loads((ROOT / manifest).read_text())["package"]
    binstall = package["metadata"]["binstall"]
    program = {"kestack": "kestack", "kes-server": "kes"}[crate]
    values = {"repo": "R", "version": version, "target": target, "archive-suffix": ".tar.gz", "bin": program, "binary-ext": ""}

    def fill(template):
        return re.sub(r"\{ ?([a-z-]+) ?\}", lambda found: values[found[1]], template)

    assert binstall["pkg-fmt"] == "tgz"
    where, _, file = fill(binstall["pkg-url"]).rpartition("/")
    assert where == f"R/releases/download/v{version}"
    with tarfile.open(dist / file) as tar:
        assert tar.getmember(fill(binstall["bin-dir"])).isfile()


def test_the_image_of_kes_says_what_it_is(dist, version):
    with tarfile.open(dist / f"kes-{version}-amd64.oci.tar") as tar:
        def blob(descriptor):
            content = tar.extractfile(f"blobs/sha256/{descriptor['digest'].removeprefix('sha256:')}").read()
            assert (len(content), hashlib.sha256(content).hexdigest()) == (descriptor["size"], descriptor["digest"][7:])
            return content

        index = json.load(tar.extractfile("index.json"))
        manifest = json.loads(blob(index["manifests"][0]))
        config = json.loads(blob(manifest["config"]))
        layer = blob(manifest["layers"][0])
    labels = config["config"]["Labels"]
    for name in ("created", "description", "licenses", "revision", "source", "title", "version"):
        assert labels[f"org.opencontainers.image.{name}"]
    assert labels["org.opencontainers.image.version"] == version
    assert (config["config"]["Entrypoint"], config["config"]["User"]) == (["/kes"], "1000:1000")
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.extractfile("kes").read() == (PROGRAMS / "kes").read_bytes()
        assert b"tokio" in files.extractfile("licenses/THIRD-PARTY.md").read(), "the licences of what is in the program"
    assert config["architecture"] == {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def test_the_image_with_everything_has_a_shell_and_a_health_check(dist, version):
    """The form that every Docker loads, and what Compose files and their health checks need."""
    with tarfile.open(dist / f"kestack-{version}-amd64.docker.tar") as tar:
        manifest, = json.load(tar.extractfile("manifest.json"))
        config = json.load(tar.extractfile(manifest["Config"]))["config"]
        held = {}
        for name in manifest["Layers"]:
            with tarfile.open(fileobj=tar.extractfile(name)) as layer:
                held |= {member.name: member for member in layer.getmembers()}
    assert config["Healthcheck"]["Test"] == ["CMD", "kestack", "serve", "--check"]
    assert held["usr/bin/sh"].linkname == "bash" and held["usr/bin/bash"].size > 500_000
    assert held["usr/libexec/kestack/kes"].size == (PROGRAMS / "kes").stat().st_size


def test_a_folder_that_is_no_release_is_left_as_it_is(tmp_path):
    (tmp_path / "precious").write_text("mine")
    said = subprocess.run([ROOT / "release/make", tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert said.returncode == 1 and "has no SHA256SUMS" in said.stderr, said.stderr
    assert (tmp_path / "precious").read_text() == "mine"


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg")
def test_the_deb_of_kes_is_complete_and_starts_nothing(dist, version, tmp_path):
    deb = dist / f"kes_{version}-1_amd64.deb"
    run("dpkg-deb", "--raw-extract", deb, tmp_path)
    for path in (
        "usr/bin/kes", "usr/lib/systemd/system/kes.service", "usr/lib/sysusers.d/kes.conf", "usr/lib/tmpfiles.d/kes.conf",
        "usr/share/man/man1/kes.1.gz", "usr/share/doc/kes/copyright", "usr/share/bash-completion/completions/kes",
    ):
        assert (tmp_path / path).is_file(), path
    alerts = tmp_path / "usr/share/doc/kes/monitoring"
    assert {file.name: file.read_bytes() for file in alerts.iterdir()} == MONITORING
    assert (tmp_path / "DEBIAN/conffiles").read_text().split() == ["/etc/kes/config.yaml"]
    for script in ("postinst", "prerm", "postrm"):
        text = (tmp_path / "DEBIAN" / script).read_text()
        run("sh", "-n", tmp_path / "DEBIAN" / script)
        assert "systemctl start" not in text and "systemctl enable" not in text and "rm -r" not in text, script
    # the example is right but for what only the user knows, and says so
    example = tmp_path / "etc/kes/config.yaml"
    assert "\n# not edited\n" in example.read_text()
    run(PROGRAMS / "kes", "config", "check", example, env={"MINIO_KES_IDENTITY": "0" * 64})


@pytest.mark.skipif(not shutil.which("dpkg-deb"), reason="needs dpkg")
def test_the_deb_of_kestack_needs_the_kes_of_its_version(dist, version):
    deb = dist / f"kestack_{version}-1_amd64.deb"
    assert run("dpkg-deb", "--field", deb, "Depends").strip() == f"kes (= {version}-1)"
    listing = run("dpkg-deb", "--contents", deb)
    assert "./usr/bin/kestack" in listing and "./usr/share/man/man1/kestack-up.1.gz" in listing


@pytest.mark.skipif(not shutil.which("rpm"), reason="needs rpm")
def test_the_rpm_of_kes_keeps_its_configuration(dist, version):
    rpm = dist / f"kes-{version}-1.x86_64.rpm"
    files = run("rpm", "-qp", "--nosignature", "--queryformat", "[%{FILENAMES} %{FILEFLAGS:fflags}\n]", rpm)
    assert re.search(r"^/etc/kes/config.yaml .*c.*n", files, re.MULTILINE), files
    assert "/usr/lib/systemd/system/kes.service" in files
    for name in MONITORING:
        assert f"/usr/share/doc/kes/monitoring/{name}" in files
    scripts = run("rpm", "-qp", "--nosignature", "--scripts", rpm)
    assert "systemd-sysusers" in scripts and "--now kes.service" in scripts
    needs = run("rpm", "-qp", "--nosignature", "--requires", dist / f"kestack-{version}-1.x86_64.rpm")
    assert f"kes = {version}-1" in needs


@pytest.mark.skipif(not shutil.which("lintian"), reason="needs lintian")
def test_lintian_finds_no_error(dist, version):
    for name in ("kes", "kestack"):
        said = subprocess.run(
            ["lintian", "--fail-on", "error", "--allow-root", dist / f"{name}_{version}-1_amd64.deb"],
            capture_output=True, text=True, timeout=120, check=False,
        )
        assert said.returncode == 0, said.stdout


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd")
def test_the_unit_is_hardened(tmp_path, target):
    unit = tmp_path / "kes.service"
    unit.write_text((ROOT / "release/packages/kes.service").read_text().replace("/usr/bin/kes ", f"{PROGRAMS}/kes "))
    run("systemd-analyze", "verify", "--man=no", unit)
    said = run("systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
    assert re.search(r"exposure level for kes.service: [01]\.\d OK", said), said[-200:]


@pytest.mark.skipif(PROGRAMS.name != "release", reason="needs a release build")
def test_a_program_is_as_small_as_promised():
    sizes = {name: (PROGRAMS / name).stat().st_size for name in ("kes", "kestack")}
    assert sizes["kes"] <= 10_000_000 and sizes["kestack"] <= 17_000_000, sizes
