"""The text files of the repository, for the checks that read all of them."""

import os
import subprocess
from pathlib import Path

SKIPPED_FOLDERS = {".git", "target", "node_modules", "__pycache__"}


def names():
    """The paths of all files, also of those that are new; without git, of all files that are not built."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, check=True, text=True
        ).stdout
        found = listed.split("\0")
    except (OSError, subprocess.CalledProcessError):
        found = []
        for folder, folders, files in os.walk("."):
            folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
            found += [os.path.relpath(os.path.join(folder, name), ".") for name in files]
    return sorted(name for name in found if name and Path(name).is_file())


def texts():
    """The content of all text files, by path."""
    found = {}
    for name in names():
        try:
            found[name] = Path(name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
    return found
