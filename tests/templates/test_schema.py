"""Templates are valid by the schema that GitLab publishes for its editor."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.ci_components import ALL, Component, component

if TYPE_CHECKING:
    from pathlib import Path


def by_gitlabs_schema(folder: Path) -> subprocess.CompletedProcess[str]:
    """Check files with the schema that GitLab publishes (gitlab-org/gitlab, app/assets/javascripts/editor/schema/ci.json).

    check-jsonschema brings it; the lock file says which version.
    """
    options = ["--builtin-schema", "vendor.gitlab-ci", "--data-transform", "gitlab-ci", "--regex-variant", "nonunicode"]
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *options, *map(str, folder.iterdir())],
        capture_output=True,
        text=True,
        check=False,
    )


def test_both_parts_of_every_template_are_valid_by_gitlabs_published_schema(tmp_path: Path) -> None:
    for path in ALL:
        template = Component(path)
        (tmp_path / f"{path.stem}.header.yml").write_text(template.parts[0])
        (tmp_path / f"{path.stem}.configuration.yml").write_text(template.text())
    done = by_gitlabs_schema(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_published_schema_refuses_what_gitlab_refuses(tmp_path: Path) -> None:
    wrong = {
        "keyword": component("platform").text().replace("interruptible:", "interruptable:"),
        "value": component("platform").text().replace("when: always", "when: sometimes"),
        "report": component("platform").text().replace("junit:", "junits:"),
        "input": component("deploy").parts[0].replace("type: array", "type: list"),
    }
    for name, text in wrong.items():
        (tmp_path / f"{name}.yml").write_text(text)
    done = by_gitlabs_schema(tmp_path)
    assert done.returncode == 1
    for name in wrong:
        assert f"{name}.yml" in done.stdout, f"{name} was let through"
