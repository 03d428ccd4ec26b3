"""What doctor found, as a table for people and as one JSON document for machines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from image.doctor.diagnosis import ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image.doctor.diagnosis import Finding

REFUSED = "REFUSED"
_SECRET_FREE = ("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "CI_RUNNER_ID")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One profile, asked by one SDK in one way."""

    profile: str
    sdk: str
    way: str
    expected: str
    """Role ARN that the config names; empty where it names none."""
    got: str
    """The same role ARN, the ARN of another session, or REFUSED."""
    session_seconds: int | None
    """What is left of the session; None where the SDK does not say."""
    ok: bool
    cause: str
    """A key of `ADVICE`, empty where all is well."""
    error: str
    """What the SDK said."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that one run found."""

    runner_class: str
    stack: str
    service_account: str
    pipeline: str
    job: str
    audit: str
    config: str
    rows: Sequence[Row]
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether the job is who it should be in every way that was tried, and nothing is about to break it."""
        return bool(self.rows) and all(row.ok for row in self.rows) and not any(each.fatal for each in self.findings)

    def document(self) -> dict[str, Any]:
        """The JSON document; `class` is null where the token is of no class."""
        return {
            "class": self.runner_class or None,
            "stack": self.stack or None,
            "service_account": self.service_account or None,
            "pipeline": self.pipeline or None,
            "job": self.job or None,
            "audit": self.audit,
            "rows": [asdict(row) for row in self.rows],
            "findings": [{**asdict(each), "advice": ADVICE[each.cause]} for each in self.findings],
            "ok": self.ok,
        }

    def text(self) -> str:
        """The table, what is wrong and what to do, and the line for the audit trail."""
        head = f"class {self.runner_class or 'unknown'}, {self.service_account or 'no service account'}, config {self.config}"
        parts = [head, *_table(self.rows), *_trouble(self.rows, self.findings), self.audit]
        return "\n".join([*parts, f"doctor: {'all is well' if self.ok else 'something is wrong, see above'}"])


def audit_line(environment: Mapping[str, str], subject: str, pod: str, session: str, now: float) -> str:
    """What ties the session that CloudTrail shows to the pipeline and the job that GitLab shows.

    The session's name is the class's, the same for every job; the subject stands in the event of AssumeRoleWithWebIdentity, and pod and
    time tell the job.
    """
    said = [f"{name}={environment[name]}" for name in _SECRET_FREE if environment.get(name)]
    when = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts = [f"session={session or '-'}", f"subject={subject or '-'}", f"pod={pod or '-'}", *said, f"time={when}"]
    return "audit: " + " ".join(parts)


def seconds_left(expires: str, now: float) -> int | None:
    """What is left of a session, from ISO 8601; None where nobody says."""
    try:
        end = datetime.fromisoformat(expires)
    except ValueError:
        return None
    return round((end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() - now)


def _table(rows: Sequence[Row]) -> list[str]:
    families = list(dict.fromkeys(row.sdk for row in rows))
    lines = [["profile", "account", "role", *families]]
    for profile in dict.fromkeys(row.profile for row in rows):
        own = [row for row in rows if row.profile == profile]
        account, role = _short(own[0].expected)
        lines.append([profile, account, role, *(_cell([row for row in own if row.sdk == sdk]) for sdk in families)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _short(arn: str) -> tuple[str, str]:
    fields = arn.split(":")
    return (fields[4], arn.rpartition("/")[2]) if len(fields) > 5 else ("-", "-")  # noqa: PLR2004  # arn:p:iam::account:role


def _cell(rows: Sequence[Row]) -> str:
    wrong = [row for row in rows if not row.ok]
    if not wrong:
        left = min((row.session_seconds for row in rows if row.session_seconds is not None), default=None)
        return "ok" if left is None else f"ok {left // 60} min"
    ways = "" if len(wrong) == len(rows) else f" ({', '.join(row.way for row in wrong)})"
    return (REFUSED if wrong[0].got == REFUSED else "WRONG") + ways


def _trouble(rows: Sequence[Row], findings: Sequence[Finding]) -> list[str]:
    lines = []
    for each in findings:
        lines += [f"{'wrong' if each.fatal else 'note'}: {each.text}", f"  {each.cause}: {ADVICE[each.cause]}"]
    told = {each.cause for each in findings}
    ways: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if not row.ok:
            said = row.error or f"expected {row.expected or 'nothing'}, got {row.got}"
            ways.setdefault((row.profile, row.sdk, row.cause, said), []).append(row.way)
    for (profile, sdk, cause, said), by in ways.items():
        lines.append(f"{profile} by {sdk} ({', '.join(by)}): {cause}: {said}")
        if cause not in told:
            told.add(cause)
            lines.append(f"  {ADVICE[cause]}")
    return lines
