"""Which Kubernetes versions EKS offers, and how long it supports them.

Dates: https://docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html; those of 1.36 follow its rule (14 months
of standard support, 12 more of extended) from an assumed release and are not AWS's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sandbox_aws.answers import as_json

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer


@dataclass(frozen=True)
class _Version:
    number: str
    released: date
    standard_until: date
    extended_until: date

    def status(self, today: date) -> str:
        if today <= self.standard_until:
            return "STANDARD_SUPPORT"
        return "EXTENDED_SUPPORT" if today <= self.extended_until else "UNSUPPORTED"


_DEFAULT = "1.35"
_VERSIONS = (
    _Version("1.36", date(2026, 6, 2), date(2027, 8, 2), date(2028, 8, 2)),
    _Version("1.35", date(2026, 1, 27), date(2027, 3, 27), date(2028, 3, 27)),
    _Version("1.34", date(2025, 10, 2), date(2026, 12, 2), date(2027, 12, 2)),
    _Version("1.33", date(2025, 5, 29), date(2026, 7, 29), date(2027, 7, 29)),
    _Version("1.32", date(2025, 1, 23), date(2026, 3, 23), date(2027, 3, 23)),
    _Version("1.31", date(2024, 9, 26), date(2025, 11, 26), date(2026, 11, 26)),
    _Version("1.30", date(2024, 5, 23), date(2025, 7, 23), date(2026, 7, 23)),
)


def default() -> str:
    """Return the version of a cluster that names none."""
    return _DEFAULT


def offered(version: str) -> bool:
    """Whether a cluster of this version can be made today."""
    return any(one.number == version and one.status(_today()) != "UNSUPPORTED" for one in _VERSIONS)


def minor(version: str) -> int:
    """Return the number after the dot."""
    return int(version.partition(".")[2])


def describe(query: dict[str, Any]) -> Answer:
    """DescribeClusterVersions: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeClusterVersions.html."""
    wanted = query.get("clusterVersions", [])
    status = (query.get("versionStatus") or query.get("status") or [""])[0].upper().replace("-", "_")
    only_default = (query.get("defaultOnly") or ["false"])[0] == "true"
    everything = (query.get("includeAll") or ["false"])[0] == "true"
    shown = []
    for one in _VERSIONS:
        now = one.status(_today())
        if (wanted and one.number not in wanted) or (status and now != status):
            continue
        if (only_default and one.number != _DEFAULT) or (now == "UNSUPPORTED" and not (everything or wanted or status)):
            continue
        shown.append(_shown(one, now))
    return as_json({"clusterVersions": shown})


def _shown(one: _Version, status: str) -> dict[str, Any]:
    return {
        "clusterVersion": one.number,
        "clusterType": "eks",
        "defaultPlatformVersion": "eks.1",
        "defaultVersion": one.number == _DEFAULT,
        "releaseDate": _epoch(one.released),
        "endOfStandardSupportDate": _epoch(one.standard_until),
        "endOfExtendedSupportDate": _epoch(one.extended_until),
        "status": status.lower(),
        "versionStatus": status,
        "kubernetesPatchVersion": f"{one.number}.0",
    }


def _epoch(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _today() -> date:
    return datetime.now(UTC).date()
