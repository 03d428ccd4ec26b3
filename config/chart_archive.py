"""A packaged chart that the settings name by its path: whether it is there, and a gitlab-runner chart that is new enough.

Reads the archive's `Chart.yaml` and nothing else. Source: https://helm.sh/docs/topics/charts/#the-chart-file-structure
"""

from __future__ import annotations

import tarfile
from typing import TYPE_CHECKING, Any

import yaml

from config.errors import Problem
from config.sections import OLDEST_CHART, Chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.settings import Parsed

CHART = "gitlab-runner"


def problems(parsed: Parsed, root: Path) -> Iterator[Problem]:
    """What is wrong with the archive at `chart.path`, relative to `root`, the folder of the stack files."""
    chart = parsed.single["chart"]
    if not isinstance(chart, Chart) or chart.path is None:
        return
    file = root / chart.path
    if not file.is_file():
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} is not a file; `helm pull {CHART} --repo <repository>` fetches one",
        )
        return
    try:
        found = metadata(file)
    except (OSError, tarfile.TarError, yaml.YAMLError, KeyError, StopIteration) as error:
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} is not a packaged chart ({type(error).__name__}); `helm package` makes one",
        )
        return
    version = str(found.get("version", ""))
    if found.get("name") != CHART:
        yield Problem(path="chart.path", message=f"{chart.path!r} holds the chart {found.get('name')!r}, not {CHART}")
    elif _number(version) < OLDEST_CHART:
        yield Problem(
            path="chart.path",
            message=f"{chart.path!r} holds version {version}, older than 0.86.0, the oldest whose values this program writes; "
            "mirror a newer one",
        )


def metadata(file: Path) -> dict[str, Any]:
    """The archive's `Chart.yaml`.

    Raises:
        tarfile.TarError: it is not a gzipped tar archive.
        StopIteration: it has no `<chart>/Chart.yaml`.
        yaml.YAMLError: that file is not YAML.
    """
    with tarfile.open(file, "r:gz") as archive:
        member = next(each for each in archive if each.name.count("/") == 1 and each.name.endswith("/Chart.yaml"))
        content = archive.extractfile(member)
        document = yaml.safe_load(content.read()) if content is not None else {}
    return document if isinstance(document, dict) else {}


def _number(version: str) -> tuple[int, ...]:
    core = version.partition("-")[0].partition("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in core)
