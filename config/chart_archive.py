"""Checks of a packaged chart (`chart.path`): it exists, it is the gitlab-runner chart, and it is new enough.

Reads the archive's `Chart.yaml` only. Source: https://helm.sh/docs/topics/charts/#the-chart-file-structure
"""

from __future__ import annotations

import os
import tarfile
import zlib
from typing import TYPE_CHECKING, Any

import yaml

from config.errors import Problem
from config.sections import OLDEST_CHART

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.sections import Chart

CHART = "gitlab-runner"


def problems(chart: Chart, root: Path) -> Iterator[Problem]:
    """Check the archive at `chart.path`, relative to `root`, the folder of the stack files."""
    if chart.path is None:
        return
    file = root / chart.path
    if not os.path.isfile(file):  # noqa: PTH113  # Path.is_file raises for a path that is too long
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} is not a file; fetch the chart with `helm pull {CHART} --repo <repository>`",
        )
        return
    try:
        metadata = chart_metadata(file)
    except (
        OSError,
        tarfile.TarError,
        yaml.YAMLError,
        zlib.error,
        EOFError,
        ValueError,
        KeyError,
        StopIteration,
    ) as error:
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} is not a packaged chart ({type(error).__name__}); make one with `helm package`",
        )
        return
    version = str(metadata.get("version", ""))
    if metadata.get("name") != CHART:
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} holds the chart {metadata.get('name')!r}, not {CHART}; name an archive of {CHART}",
        )
    elif _version_numbers(version) < OLDEST_CHART:
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} holds version {version}, older than 0.86.0, the oldest whose values this program writes; "
            "mirror a newer one",
        )


def chart_metadata(file: Path) -> dict[str, Any]:
    """Read the archive's `Chart.yaml`.

    Raises:
        tarfile.TarError: the file is not a gzipped tar archive.
        StopIteration: the archive has no `<chart>/Chart.yaml`.
        yaml.YAMLError: `Chart.yaml` is not YAML.
    """
    with tarfile.open(file, "r:gz") as archive:
        member = next(
            member for member in archive if member.name.count("/") == 1 and member.name.endswith("/Chart.yaml")
        )
        content = archive.extractfile(member)
        document = yaml.safe_load(content.read()) if content is not None else {}
    return document if isinstance(document, dict) else {}


def _version_numbers(version: str) -> tuple[int, ...]:
    core = version.partition("-")[0].partition("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in core)
