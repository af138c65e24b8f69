"""The action of GitHub, its steps run as the runner does; and the files that tell others how to build and test."""

import os
import re
import subprocess

import pytest
import yaml

from conftest import PROGRAMS, ROOT, fails, run
from test_install import served  # noqa: F401, the fixture


class Runner:
    """Runs the steps of a composite action: inputs, and the files by which a step speaks to later ones."""

    def __init__(self, folder, environment):
        self.folder, self.environment, self.outputs, self.posts = folder, environment, {}, []

    def run(self, action, inputs):
        values = {f"inputs.{name}": inputs.get(name, about.get("default", "")) for name, about in action["inputs"].items()}
        for step in action["runs"]["steps"]:
            if used := step.get("uses"):
                self.posts.append(used)
                continue
            assert step["shell"] == "bash"
            self.step(step["run"], {name: fill(text, values) for name, text in step.get("env", {}).items()})

    def step(self, script, more):
        files = {name: self.folder / name for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        environment = self.environment | more | {name: str(file) for name, file in files.items()}
        run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, env=environment, cwd=self.folder)
        self.environment |= assignments(files["GITHUB_ENV"].read_text())
        self.outputs |= assignments(files["GITHUB_OUTPUT"].read_text())
        for path in files["GITHUB_PATH"].read_text().splitlines():
            self.environment["PATH"] = f"{path}:{self.environment['PATH']}"


def fill(text, values):
    return re.sub(r"\$\{\{ *([\w.]+) *\}\}", lambda found: values[found[1]], text)


def assignments(text):
    """`NAME=value` and `NAME<<END`, as the runner reads them."""
    found, lines = {}, iter(text.splitlines())
    for line in lines:
        if many := re.fullmatch(r"(\w+)<<(\S+)", line):
            value = []
            for more in lines:
                if more == many[2]:
                    break
                value.append(more)
            found[many[1]] = "\n".join(value)
        elif line:
            name, _, found[name] = line.partition("=")
    return found


def test_the_action_brings_a_stack_up_and_removes_it(served, version, tmp_path):  # noqa: F811
    _, environment, _ = served
    (tmp_path / "work").mkdir()
    runner = Runner(tmp_path / "work", environment | {
        "RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_ACTION_PATH": str(ROOT), "MINIO_BINARY": os.environ["MINIO_BINARY"],
        "KESTACK_DIR": str(tmp_path / "stacks"), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
    })
    runner.run(yaml.safe_load((ROOT / "action.yml").read_text()), {"version": version})
    assert runner.posts == ["kestack/kestack/release/down@main"]
    assert runner.outputs["endpoint"] == runner.environment["AWS_ENDPOINT_URL_S3"]
    later = "kestack verify && kestack status && test -n \"$AWS_SECRET_ACCESS_KEY\""
    assert "proven: this stack encrypts" in run("bash", "-c", later, env=runner.environment)
    down = yaml.safe_load((ROOT / "release/down/action.yml").read_text())["runs"]
    node = os.environ.get("KESTACK_NODE", "node")
    run(node, ROOT / "release/down" / down["main"], env=runner.environment)
    said = run(node, ROOT / "release/down" / down["post"], env=runner.environment)
    assert "its data is removed" in said and not (tmp_path / "stacks").exists() or not os.listdir(tmp_path / "stacks")
    # a job that never came so far has nothing to remove, and fails for that
    fails(node, ROOT / "release/down" / down["post"], env={"PATH": "/usr/bin:/bin"} | {"HOME": str(tmp_path)})


OURS = re.compile(r"(sudo --preserve-env=PATH,HOME )?(KESTACK_RELEASE_OUT=dist )?tests/run( release-complete)?|gh release create .*")


@pytest.mark.parametrize("file", sorted((ROOT / ".github/workflows").glob("*.yml")), ids=lambda file: file.name)
def test_a_workflow_has_our_commands_and_nothing_else(file):
    workflow = yaml.safe_load(file.read_text())
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            assert step.get("uses") == "actions/checkout@v4" or OURS.fullmatch(step["run"]), step
        assert job["timeout-minutes"] <= 120
    assert workflow["permissions"]["contents"] in ("read", "write")


def test_the_template_of_gitlab_has_our_commands_and_nothing_else():
    template = yaml.safe_load((ROOT / "release/gitlab-ci.yml").read_text())
    jobs = {name: job for name, job in template.items() if "script" in job}
    assert set(jobs) == {"test", "release"}
    assert all(OURS.fullmatch(job["script"]) for job in jobs.values())
    assert jobs["release"]["artifacts"]["paths"] == ["dist/"]


def test_scripts_are_scripts():
    for path in ("release/make", "release/build", "release/reproducible"):
        run("bash", "-n", ROOT / path)
    for path in ("release/install.sh", "release/packages/postinstall", "release/packages/preremove", "release/packages/postremove"):
        run("sh", "-n", ROOT / path)
    if subprocess.run(["which", "shellcheck"], capture_output=True, check=False).returncode == 0:
        run("shellcheck", "-x", ROOT / "release/install.sh", ROOT / "release/make", ROOT / "release/build")
    assert (PROGRAMS / "kes").exists()
