"""Copies of a job that `parallel` asks for. https://docs.gitlab.com/ci/yaml/#parallel."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.gitlab.ci.document import flat

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, kw_only=True)
class Copy:
    """One copy of a job; a job without `parallel` has a single one."""

    name: str
    number: int = 1
    total: int = 1
    parallel: bool = False
    matrix: Mapping[str, str] = field(default_factory=dict)


def of_job(name: str, parallel: Any) -> list[Copy]:
    """Return the copies of a job.

    Args:
        name: Name in the file.
        parallel: Value of the keyword, or None.
    """
    if parallel is None:
        return [Copy(name=name)]
    if isinstance(parallel, int):
        names = [f"{name} {number}/{parallel}" for number in range(1, parallel + 1)]
        return [Copy(name=copy, number=number, total=parallel, parallel=True) for number, copy in enumerate(names, 1)]
    rows = _rows(parallel["matrix"])
    return [
        Copy(name=f"{name}: [{', '.join(row.values())}]", number=number, total=len(rows), parallel=True, matrix=row)
        for number, row in enumerate(rows, 1)
    ]


def _rows(matrix: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    return [
        dict(zip(entry, (str(value) for value in values), strict=True))
        for entry in matrix
        for values in product(*(flat(value) for value in entry.values()))
    ]
