"""The crates that a program of this workspace is built from, as Cargo resolved them for a target."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def metadata(target):
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--offline", "--filter-platform", target]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


class Crates:
    """All crates below one of the workspace's, that one first; those of tests and build scripts are left out."""

    def __init__(self, name, target):
        found = metadata(target)
        packages = {package["id"]: package for package in found["packages"]}
        nodes = {node["id"]: node for node in found["resolve"]["nodes"]}
        self.root = next(id for id in found["workspace_members"] if packages[id]["name"] == name)
        self.below = {}
        todo = [self.root]
        while todo:
            id = todo.pop()
            if id in self.below:
                continue
            normal = [dep["pkg"] for dep in nodes[id]["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"])]
            self.below[id] = sorted(normal)
            todo.extend(normal)
        self.packages = {id: packages[id] for id in self.below}
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
        self.checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock["package"]}

    def __iter__(self):
        return iter(sorted(self.packages.values(), key=lambda package: (package["name"], package["version"])))

    def checksum(self, package):
        return self.checksums[package["name"], package["version"]]


def licence(package):
    """The expression in SPDX's form; older crates write a slash for OR."""
    return re.sub(r"\s*/\s*", " OR ", package["license"] or "NOASSERTION")
