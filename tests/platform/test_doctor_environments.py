"""The real SDKs in the environments from public reports: they still do what is recorded of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools
from tests.support import aws_environments

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.sandbox


def test_the_sdks_do_what_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = Tools.find(Paths.from_environment()).path_folders()
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, folders), os.environ["PATH"]]))
    answers = aws_environments.ask(tmp_path, every_cli=4)
    recorded = aws_environments.recorded()
    expected = {name: {sdk: recorded[name][sdk] for sdk in row} for name, row in answers.items()}
    assert answers == expected, (
        "an SDK changed: record anew (tests/support/aws_environments.py), then mend image/doctor/selectors.py"
    )
