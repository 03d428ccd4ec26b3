"""The files that a contributor, GitLab or a bot reads: they are valid, and what they name exists."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml

from config import load

PIPELINE = load.ROOT / ".gitlab-ci.yml"
PROJECT: dict[str, Any] = tomllib.loads((load.ROOT / "pyproject.toml").read_text())
HOOKS = yaml.safe_load((load.ROOT / ".pre-commit-config.yaml").read_text())["repos"]
OWNED = [line.split() for line in (load.ROOT / "CODEOWNERS").read_text().splitlines() if line[:1] not in ("", "#")]


def validate(*options: str) -> subprocess.CompletedProcess[str]:
    """Run check-jsonschema with its built-in schemas."""
    command = [sys.executable, "-m", "check_jsonschema", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_pipeline_is_valid_by_gitlabs_published_schema() -> None:
    done = validate(
        *("--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", "--regex-variant", "nonunicode"),
        str(PIPELINE),
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_pipeline_gives_the_templates_inputs_that_they_declare() -> None:
    for include in yaml.safe_load(PIPELINE.read_text())["include"]:
        header = (load.ROOT / include["local"]).read_text().split("\n---\n")[0]
        declared = yaml.safe_load(header)["spec"]["inputs"]
        required = {name for name, declaration in declared.items() if "default" not in declaration}
        assert required <= set(include["inputs"]) <= set(declared), include["local"]
        for name, value in include["inputs"].items():
            assert re.search(declared[name]["regex"], value), f"{include['local']}: {name}"


def test_the_pipeline_includes_what_the_platforms_template_shows() -> None:
    head = (load.ROOT / "templates" / "platform.yml").read_text().split("spec:")[0]
    example = head.split("Example, the whole .gitlab-ci.yml:")[1].rpartition("#\n# docs/")[0]
    lines = [line.removeprefix("#") for line in example.splitlines()]
    assert yaml.safe_load("\n".join(lines))["include"] == yaml.safe_load(PIPELINE.read_text())["include"]


def test_every_path_of_codeowners_exists_and_has_an_owner() -> None:
    for path, *owners in OWNED:
        assert owners, path
        assert path == "*" or (load.ROOT / path.strip("/")).exists(), path


@pytest.mark.parametrize("path", ["/policies/", "/access/", "/templates/", "/.gitlab-ci.yml"])
def test_what_guards_a_merge_request_has_an_owner(path: str) -> None:
    assert path in {row[0] for row in OWNED}


def test_the_commands_of_the_hooks_exist() -> None:
    recipes = set(re.findall(r"^([a-z]+):", (load.ROOT / "Makefile").read_text(), re.MULTILINE))
    for hook in HOOKS[0]["hooks"]:
        program, *arguments = hook["entry"].split()
        if program == "make":
            assert set(arguments) <= recipes, hook["id"]
        else:
            assert (load.ROOT / program).exists(), hook["id"]


def test_the_hooks_run_the_tools_of_make_check() -> None:
    recipe = (load.ROOT / "Makefile").read_text().partition("\ncheck:")[2].partition("\n\n")[0]
    tools = set(re.findall(r"\$\(BIN\)/(\w+(?: format| check)?)", recipe)) - {"pytest"}
    entries = " ".join(hook["entry"] for hook in HOOKS[0]["hooks"])
    assert all(tool in entries for tool in tools), tools


def test_the_changelog_has_the_version_of_the_project() -> None:
    headings = re.findall(r"^## \[([^\]]+)\]", (load.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    assert PROJECT["project"]["version"] in headings


def test_updates_wait_as_long_as_the_lock_demands() -> None:
    path = load.ROOT / "renovate.json"
    done = validate("--builtin-schema", "vendor.renovate", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(path.read_text())["minimumReleaseAge"] == PROJECT["tool"]["uv"]["exclude-newer"]


def test_the_licence_is_the_one_that_the_project_declares() -> None:
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert PROJECT["project"]["license-files"] == ["LICENSE"]
    assert "Apache License\n                           Version 2.0" in (load.ROOT / "LICENSE").read_text()
