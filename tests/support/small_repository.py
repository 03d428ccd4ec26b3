"""A clone with a command line of its own that registers what a test says: commits to compare, without the programs."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from config import load

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

RESOURCE = {"type": "aws:s3/bucket:Bucket", "name": "store", "parent": None, "provider": None, "account": "admin"}
PROGRAM = """
import json, os, sys
assert [sys.argv[1], sys.argv[2], sys.argv[4]] == ["resources", "--stack", "--json"], sys.argv
{further}
found = [{resource!r} | {{"inputs": {{"made": "{made}", "from": os.getcwd()}}}}]
print(json.dumps(found if sys.argv[3] == "dev" else []))
"""


def git(folder: Path, *arguments: str) -> str:
    """Run git there, with nobody's configuration; returns what it says."""
    who = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null", "PATH": os.environ["PATH"]}
    who |= {f"GIT_{role}_{key}": "x@x.invalid" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    done = subprocess.run(["git", "-C", folder, *arguments], env=who, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def commit(folder: Path, made: str, further: str = "", module: str = "runner_platform/__main__.py") -> str:
    """Commit a program that registers a bucket with the input `made`; return the commit.

    Args:
        folder: the repository.
        made: the input, and the commit's message.
        further: lines of Python that the command line runs first.
        module: file of the command line.
    """
    file = folder / module
    file.parent.mkdir(exist_ok=True)
    (file.parent / "__init__.py").touch()
    file.write_text(PROGRAM.format(resource=RESOURCE, made=made, further=further))
    if not (folder / "Pulumi.dev.yaml").exists():
        (folder / "Pulumi.dev.yaml").write_text("config: {}\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", made)
    return git(folder, "rev-parse", "HEAD")


def made(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty repository that passes for the project."""
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    monkeypatch.setattr(load, "ROOT", folder)
    return folder
