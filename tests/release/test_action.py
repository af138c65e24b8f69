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

    def __init__(self, folder, environment, ref):
        self.folder, self.environment, self.outputs, self.posts, self.said = folder, environment, {}, [], ""
        self.ref, self.node = ref, os.environ.get("KESTACK_NODE", "node")

    def run(self, inputs):
        action = yaml.safe_load((ROOT / "action.yml").read_text())
        assert set(inputs) <= set(action["inputs"])
        values = {f"inputs.{name}": inputs.get(name, about.get("default", "")) for name, about in action["inputs"].items()}
        values["github.action_ref"] = self.ref
        for step in action["runs"]["steps"]:
            if used := step.get("uses"):
                self.use(used, {f"INPUT_{name.upper()}": fill(text, values) for name, text in step["with"].items()})
                continue
            assert step["shell"] == "bash"
            done = self.step(step["run"], {name: fill(text, values) for name, text in step.get("env", {}).items()})
            values |= {f"steps.{step['id']}.outputs.{name}": value for name, value in done.items()}
        self.outputs = {name: fill(about["value"], values) for name, about in action["outputs"].items()}

    def step(self, script, more):
        files = {name: self.folder / name for name in ("GITHUB_ENV", "GITHUB_PATH", "GITHUB_OUTPUT")}
        for file in files.values():
            file.write_text("")
        environment = self.environment | more | {name: str(file) for name, file in files.items()}
        self.said += run("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script, env=environment, cwd=self.folder)
        self.environment |= assignments(files["GITHUB_ENV"].read_text())
        for path in files["GITHUB_PATH"].read_text().splitlines():
            self.environment["PATH"] = f"{path}:{self.environment['PATH']}"
        return assignments(files["GITHUB_OUTPUT"].read_text())

    def use(self, used, inputs):
        """An action in JavaScript: its first part now, and the one for the end of the job with what that noted."""
        path = re.fullmatch(r"kestack/kestack/(.*)@.*", used)[1]
        runs, state = yaml.safe_load((ROOT / path / "action.yml").read_text())["runs"], self.folder / "GITHUB_STATE"
        state.write_text("")
        run(self.node, ROOT / path / runs["main"], env=self.environment | inputs | {"GITHUB_STATE": str(state)})
        noted = {f"STATE_{name}": value for name, value in assignments(state.read_text()).items()}
        self.posts.append((ROOT / path / runs["post"], noted, used))

    def end(self):
        """The end of the job, whatever happened: the last one first."""
        return "".join(run(self.node, post, env=self.environment | noted, cwd=self.folder) for post, noted, _ in self.posts[::-1])


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


@pytest.fixture
def runner(served, version, tmp_path):  # noqa: F811
    _, environment, _ = served
    (tmp_path / "work").mkdir()
    return Runner(tmp_path / "work", environment | {
        "RUNNER_TEMP": str(tmp_path / "temp"), "GITHUB_ACTION_PATH": str(ROOT), "MINIO_BINARY": os.environ["MINIO_BINARY"],
        "KESTACK_DIR": str(tmp_path / "stacks"), "PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "GITHUB_RUN_ID": "4711",
    }, f"v{version}")


def stacks(tmp_path):
    """What is left of stacks, wherever they are."""
    return [str(path) for name in ("stacks", "elsewhere") for path in (tmp_path / name).glob("*")]


def test_the_action_brings_a_stack_up_and_removes_it(runner, version, tmp_path):
    # a pinned action takes the programs of its release
    (tmp_path / "served/latest/download").unlink()
    runner.run({})
    assert [used for _, _, used in runner.posts] == [f"kestack/kestack/release/down@v{version}"], "the code of this release"
    assert runner.outputs["endpoint"] == runner.environment["AWS_ENDPOINT_URL_S3"]
    later = "kestack verify && kestack status && test -n \"$AWS_SECRET_ACCESS_KEY\""
    assert "proven: this stack encrypts" in run("bash", "-c", later, env=runner.environment)
    secrets = {value for name, value in runner.environment.items() if re.match("AWS_.*KEY|MC_HOST", name)}
    assert len(secrets) == 3 and {f"::add-mask::{secret}" for secret in secrets} <= set(runner.said.splitlines())
    assert not any(secret in re.sub("::add-mask::.*", "", runner.said) for secret in secrets)
    assert "its data is removed" in runner.end() and not stacks(tmp_path)
    # a job that never came so far has nothing to remove, and fails for that
    fails(runner.node, runner.posts[0][0], env={"PATH": "/usr/bin:/bin"} | {"HOME": str(tmp_path)})


def test_each_call_of_the_action_removes_its_own_stack(runner, tmp_path):
    (runner.folder / "deploy").mkdir()
    (runner.folder / "kestack.yaml").write_text("name: of-the-workspace\n")
    (runner.folder / "deploy/kestack.yaml").write_text(f"name: mine\ndir: {tmp_path}/elsewhere\n")
    runner.run({})
    runner.run({"arguments": "--file deploy/kestack.yaml", "name": "second"})
    names = [noted["STATE_NAME"] for _, noted, _ in runner.posts]
    assert re.fullmatch("gh-4711-[0-9a-f]{8}", names[0]) and names[1] == "second"
    assert sorted(path.rsplit("/", 1)[1] for path in stacks(tmp_path)) == sorted(names)
    assert "proven: this stack encrypts" in run("kestack", "--file", "deploy/kestack.yaml", "verify", env=runner.environment, cwd=runner.folder)
    assert runner.end().count("its data is removed") == 2 and not stacks(tmp_path)


def test_what_a_failed_call_left_is_removed(runner, tmp_path):
    seed = runner.folder / "seed.sh"
    seed.write_text("#!/bin/sh\nexit 1\n")
    seed.chmod(0o755)
    (runner.folder / "kestack.yaml").write_text("name: mine\nseed: { run: [./seed.sh] }\n")
    with pytest.raises(AssertionError, match="seed.sh"):
        runner.run({})
    assert stacks(tmp_path), "its servers run"
    assert "its data is removed" in runner.end() and not stacks(tmp_path)


@pytest.mark.parametrize("argument", ["--name x", "-nx", "--dir=/srv", "--engine docker", "--host unix:///x"])
def test_an_argument_that_the_end_would_not_know_is_refused(runner, argument):
    with pytest.raises(AssertionError, match=f"'{argument.split()[0]}' is an input of the action"):
        runner.run({"arguments": f"--file x {argument}"})
    assert not runner.posts and not (runner.folder.parent / "temp").exists()


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
