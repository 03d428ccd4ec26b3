"""A packaged chart: mistakes in the archive are problems of the settings, reported before any resource changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from config import settings
from config.chart_archive import problems
from config.errors import SettingsError
from tests.support.packaged_chart import packaged
from tests.support.program import raw

if TYPE_CHECKING:
    from pathlib import Path


def problem_text(path: str, root: Path) -> str:
    values = raw("dev")
    values["chart"] = {"path": path}
    try:
        settings.parse(values, "dev", "the file", lambda chart: problems(chart, root))
    except SettingsError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("version", ["0.86.0", "0.93.0", "1.0.0", "0.93.0-rc1"])
def test_a_packaged_chart_of_a_supported_version_is_accepted(tmp_path: Path, version: str) -> None:
    packaged(tmp_path / "chart.tgz", version=version)
    assert not problem_text("chart.tgz", tmp_path)


@pytest.mark.parametrize("version", ["0.85.9", "0.9.0", "junk"])
def test_an_old_chart_is_refused_with_its_version(tmp_path: Path, version: str) -> None:
    packaged(tmp_path / "chart.tgz", version=version)
    assert f"chart.path: 'chart.tgz' holds version {version}, older than 0.86.0" in problem_text("chart.tgz", tmp_path)


def test_another_chart_is_refused_by_name(tmp_path: Path) -> None:
    packaged(tmp_path / "chart.tgz", name="gitlab-agent")
    assert "holds the chart 'gitlab-agent', not gitlab-runner" in problem_text("chart.tgz", tmp_path)


def test_a_missing_archive_is_reported_with_the_command_that_fetches_it(tmp_path: Path) -> None:
    assert "'nowhere.tgz' is not a file; fetch the chart with `helm pull gitlab-runner" in problem_text(
        "nowhere.tgz", tmp_path
    )


def test_a_file_that_is_not_an_archive_is_a_problem_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "chart.tgz").write_text("junk")
    assert "'chart.tgz' is not a packaged chart (ReadError)" in problem_text("chart.tgz", tmp_path)
