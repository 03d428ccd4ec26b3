"""The report of doctor: a table for people, one JSON document for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from image.doctor.diagnosis import ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from image.doctor.diagnosis import Finding
    from image.doctor.selectors import Selector

REFUSED = "REFUSED"
AS_IT_STANDS = "as it stands"
"""First row of the table: the job's own environment."""
_AUDIT_VARIABLES = ("CI_PROJECT_PATH", "CI_PIPELINE_ID", "CI_JOB_ID", "CI_RUNNER_ID")


_CALLERS = {"docker": "a container of a machine", "pod": "no service account", "": "no service account"}
"""What the first line calls a job without a token."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """Result of one profile with one SDK in one way."""

    profile: str
    sdk: str
    way: str
    expected: str
    """Role ARN in the config; empty if the profile names no role, as one whose session the machine keeps."""
    got: str
    """The same role ARN, the ARN of a session, or REFUSED."""
    session_seconds: int | None
    """Remaining time of the session; None if the SDK does not know it."""
    ok: bool
    cause: str
    """A key of `ADVICE`; empty if the row is right."""
    error: str
    """Message of the SDK."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Report of one run."""

    runner_class: str
    stack: str
    service_account: str
    """Subject of the token; empty outside of Kubernetes."""
    container: str
    """`pod` or `docker`; empty if it is neither."""
    pipeline: str
    job: str
    audit: str
    config: str
    as_it_stands: Sequence[Row]
    """A row for each SDK in the job's own environment."""
    selectors: Sequence[Selector]
    rows: Sequence[Row]
    findings: Sequence[Finding]

    @property
    def ok(self) -> bool:
        """Whether every row is right and no finding is fatal."""
        fatal = any(finding.fatal for finding in self.findings)
        return bool(self.rows) and all(row.ok for row in (*self.as_it_stands, *self.rows)) and not fatal

    def document(self) -> dict[str, Any]:
        """Return the JSON document; `class` is null if the token belongs to no class."""
        return {
            "class": self.runner_class or None,
            "stack": self.stack or None,
            "service_account": self.service_account or None,
            "container": self.container or None,
            "pipeline": self.pipeline or None,
            "job": self.job or None,
            "audit": self.audit,
            "as_it_stands": [asdict(row) for row in self.as_it_stands],
            "selectors": [{**asdict(selector), "effects": selector.effects} for selector in self.selectors],
            "rows": [asdict(row) for row in self.rows],
            "findings": [{**asdict(finding), "advice": ADVICE[finding.cause]} for finding in self.findings],
            "ok": self.ok,
        }

    def text(self) -> str:
        """Return the table, problems with advice, and the line for the audit trail."""
        identity = f"class {self.runner_class or 'unknown'}, {self.service_account or _CALLERS[self.container]}"
        verdict = "all is well" if self.ok else "something is wrong, see above"
        rows = [*self.as_it_stands, *self.rows]
        harmless = [f"note: {selector.text()}" for selector in self.selectors if not selector.harmed]
        problems = [*harmless, *_problems(rows, self.findings)]
        first, last = f"{identity}, config {self.config}", f"doctor: {verdict}"
        return "\n".join([first, *_table(rows), *problems, self.audit, last])


def audit_line(environment: Mapping[str, str], subject: str, pod: str, session: str, now: float) -> str:
    """Return the line that connects a session in CloudTrail with a pipeline and a job in GitLab.

    All jobs of a class share the session name. The subject is in the event AssumeRoleWithWebIdentity; pod and time identify the job.
    """
    variables = [f"{name}={environment[name]}" for name in _AUDIT_VARIABLES if environment.get(name)]
    time = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    parts = [f"session={session or '-'}", f"subject={subject or '-'}", f"pod={pod or '-'}", *variables, f"time={time}"]
    return "audit: " + " ".join(parts)


def seconds_left(expires: str, now: float) -> int | None:
    """Return the remaining seconds of a session from its end in ISO 8601, or None for any other text."""
    try:
        end = datetime.fromisoformat(expires)
    except ValueError:
        return None
    return round((end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp() - now)


def _table(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    families = list(dict.fromkeys(row.sdk for row in rows))
    lines = [["profile", "account", "role", *families]]
    for profile in dict.fromkeys(row.profile for row in rows):
        profile_rows = [row for row in rows if row.profile == profile]
        account, role = _account_and_role(profile_rows[0])
        cells = [_cell([row for row in profile_rows if row.sdk == sdk]) for sdk in families]
        lines.append([profile, account, role, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _account_and_role(row: Row) -> tuple[str, str]:
    """Return account and role that a row expects; those of its session if it names no role and got the right one."""
    arn = row.expected or (row.got if row.ok else "")
    fields = arn.split(":")
    if len(fields) <= 5:  # noqa: PLR2004  # arn:p:iam::account:role
        return "-", "-"
    return fields[4], _name(arn) if ":assumed-role/" in arn else arn.rpartition("/")[2]


def _cell(rows: Sequence[Row]) -> str:
    wrong = [row for row in rows if not row.ok]
    if not wrong:
        seconds = min((row.session_seconds for row in rows if row.session_seconds is not None), default=None)
        return "ok" if seconds is None else f"ok {seconds // 60} min"
    ways = "" if len(wrong) == len(rows) else f" ({', '.join(row.way for row in wrong)})"
    return (REFUSED if wrong[0].got == REFUSED else f"WRONG: {_name(wrong[0].got)}") + ways


def _name(arn: str) -> str:
    """Return the name of a session's role, or of a user."""
    return arn.split("/")[1] if "/" in arn else arn


def _problems(rows: Sequence[Row], findings: Sequence[Finding]) -> list[str]:
    """Return a line for each finding and each wrong result. Advice follows the first line of each cause."""
    lines = []
    for finding in findings:
        lines += [
            f"{'wrong' if finding.fatal else 'note'}: {finding.text} ({finding.cause})",
            f"  {ADVICE[finding.cause]}",
        ]
    advised = {finding.cause for finding in findings}
    ways: dict[tuple[str, str, str, str], list[str]] = {}
    for row in rows:
        if not row.ok:
            message = row.error or f"expected {row.expected or 'no role'}, got {row.got}"
            ways.setdefault((row.profile, row.sdk, row.cause, message), []).append(row.way)
    for (profile, sdk, cause, message), row_ways in ways.items():
        lines.append(f"{profile} by {sdk} ({', '.join(row_ways)}): {cause}: {message}")
        if cause not in advised:
            advised.add(cause)
            lines.append(f"  {ADVICE[cause]}")
    return lines
