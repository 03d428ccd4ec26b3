"""The progress of the engine, from its events: resources in progress, finished changes, errors, policy findings.

Values of resources may be secret, so only the fields that say so hold them, and these are never printed or written to a report.
https://pkg.go.dev/github.com/pulumi/pulumi/sdk/v3/go/common/apitype#EngineEvent
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pulumi.automation.events import EngineEvent, StepEventMetadata

UNCHANGED: Final = "same"
READS: Final = frozenset({UNCHANGED, "refresh", "read"})
"""Operations that change nothing."""
THROTTLED: Final = re.compile(
    # Not any 429, which may be part of a path or an id.
    r"Throttl|Rate exceeded|RequestLimitExceeded|TooManyRequests|SlowDown|LimitExceededException: Rate"
    r"|429 Too Many Requests|: 429\b|StatusCode: 429\b"
)
EXPIRED_CODES: Final = (
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidClientTokenId",
    "InvalidGrantException",
    "RequestExpired",
    "UnauthorizedException",
    "UnrecognizedClientException",
    "invalid_token",
)
"""Codes of AWS (with IAM Identity Center) and of OAuth, which GitLab uses, for expired or revoked credentials.

Sources: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html, https://www.rfc-editor.org/rfc/rfc6750#section-3.1
"""
EXPIRED: Final = re.compile(
    # Whole words: `UnauthorizedOperation` is a missing permission, and 401 may be a port.
    rf"\b(?:{'|'.join(EXPIRED_CODES)})\b|\bUnauthorized\b|: 401\b|StatusCode: 401\b|is GITLAB_TOKEN set"
    r"|(?i:expired token|\b(?:token|session|credentials?)\b[^.:]{0,60}\bexpired)"
    r"|asked for the client to provide credentials"
)
UNCERTAIN: Final = re.compile(
    r"error reading from server|exited prematurely|code = Unavailable|transport is closing"
    r"|[Tt]ime(?:d )?[Oo]ut|deadline exceeded|connection reset|\bEOF\b|broken pipe"
)
"""A provider's process ended, or its request was never answered."""
MOST_ERRORS: Final = 10
"""Errors that a failed run lists."""
_URN_PARTS: Final = 4


def label(urn: str) -> str:
    """Return a short name: last part of the type, then the logical name."""
    return f"{type_of(urn).rpartition(':')[2]} {urn.rpartition('::')[2]}".strip()


def type_of(urn: str) -> str:
    """Return a resource's type token, or an empty string for text that is no URN."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= _URN_PARTS else ""


def account_of(provider: str) -> str:
    """Return the account's name from a provider reference (`<urn>::<id>`), or an empty string outside AWS."""
    urn = provider.rpartition("::")[0]
    return urn.rpartition("::")[2] if "pulumi:providers:aws" in urn else ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation of the engine on one resource."""

    urn: str
    operation: str
    account: str
    began: float
    """Seconds of the monotonic clock."""

    @property
    def name(self) -> str:
        """The resource and its account: `Role small-job in cicd`."""
        return label(self.urn) + (f" in {self.account}" if self.account else "")


@dataclass
class Progress:
    """A summary of the events so far."""

    running: dict[str, Step] = field(default_factory=dict)
    """Steps in progress, by URN."""
    done: dict[str, int] = field(default_factory=dict)
    """Number of finished steps by operation; `same` counts unchanged resources."""
    finished: set[str] = field(default_factory=set)
    """URNs with a finished step of any operation."""
    failed: list[str] = field(default_factory=list)
    """URNs with a failed step."""
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    """Resources whose creation failed, as the state would hold them, without an id. Never printed."""
    live: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """Inputs and outputs by URN where a refresh finds other values; None for a resource that is gone. Never printed."""
    errors: list[str] = field(default_factory=list)
    """Diagnostics of severity `error`, each with its resource."""
    warnings: list[str] = field(default_factory=list)
    violations: list[dict[str, str]] = field(default_factory=list)
    """Findings of the policy pack: `{policy, level, urn, message}`."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """Changing steps: `{operation, urn, type, account, properties, reasons}`; names of properties, never values."""
    summary: dict[str, int] | None = None
    """Resources by operation, once the engine has finished."""

    def add(self, event: EngineEvent) -> dict[str, Any] | None:
        """Count one event; return its public form for `--json`, or None."""
        if event.resource_pre_event:
            return self._begin(event.resource_pre_event.metadata)
        if event.res_outputs_event:
            return self._end(event.res_outputs_event.metadata)
        if event.res_op_failed_event:
            return self._fail(event.res_op_failed_event.metadata)
        if event.diagnostic_event:
            return self._diagnostic(event.diagnostic_event)
        if event.policy_event:
            return self._policy(event.policy_event)
        if event.summary_event:
            changes = event.summary_event.resource_changes or {}
            self.summary = {str(getattr(key, "value", key)): count for key, count in changes.items()}
        return None

    @property
    def changed(self) -> int:
        """Number of finished steps that changed something."""
        return sum(count for operation, count in self.done.items() if operation not in READS)

    @property
    def changes(self) -> dict[str, int]:
        """Number of changed resources by operation."""
        return {name: count for name, count in (self.summary or self.done).items() if name not in READS}

    @property
    def begun(self) -> bool:
        """Whether the engine began a step or wrote a diagnostic."""
        return bool(self.running or self.done or self.failed or self.errors)

    @property
    def throttled(self) -> bool:
        """Whether a cloud asked for fewer calls."""
        return any(THROTTLED.search(text) for text in self.errors)

    @property
    def expired(self) -> bool:
        """Whether credentials expired."""
        return any(EXPIRED.search(text) for text in self.errors)

    @property
    def uncertain(self) -> bool:
        """Whether a request was not answered: the resource may exist, although the engine counts it as not created."""
        return any(UNCERTAIN.search(text) for text in self.errors)

    def _begin(self, metadata: StepEventMetadata) -> dict[str, Any] | None:
        operation = _word(metadata.op)
        state = metadata.new or metadata.old
        if operation == UNCHANGED or state is None or not state.custom:
            return None  # a component is in progress as long as its children are
        step = Step(
            urn=metadata.urn, operation=operation, account=account_of(metadata.provider), began=time.monotonic()
        )
        self.running[metadata.urn] = step
        if operation not in READS:
            self._add_step(metadata, step.account, operation)
        return _step_event(step, "begun")

    def _end(self, metadata: StepEventMetadata) -> dict[str, Any] | None:
        operation = _word(metadata.op)
        step = self.running.pop(metadata.urn, None)
        new = metadata.new
        if step is not None and step.operation == "refresh" and (new is None or metadata.diffs):
            self._add_step(metadata, step.account, "update" if new else "delete")
            self.live[metadata.urn] = (
                {"inputs": dict(new.inputs or {}), "outputs": dict(new.outputs or {})} if new else None
            )
        self.done[operation] = self.done.get(operation, 0) + 1
        self.finished.add(metadata.urn)
        return _step_event(step, "done") if step else None

    def _add_step(self, metadata: StepEventMetadata, account: str, operation: str) -> None:
        self.steps.append(
            {
                "operation": operation,
                "urn": metadata.urn,
                "type": metadata.type,
                "account": account or None,
                "properties": sorted(set(metadata.detailed_diff or metadata.diffs or ())),
                "reasons": sorted(metadata.keys or ()),
            }
        )

    def _fail(self, metadata: StepEventMetadata) -> dict[str, Any] | None:
        step = self.running.pop(metadata.urn, None)
        self.failed.append(metadata.urn)
        if _word(metadata.op).startswith("create") and metadata.new is not None:
            self.unfinished.append(
                {
                    "urn": metadata.urn,
                    "custom": True,
                    "type": metadata.type,
                    "inputs": dict(metadata.new.inputs or {}),
                    "parent": metadata.new.parent,
                    "provider": metadata.provider,
                }
            )
        return _step_event(step, "failed") if step else None

    def _diagnostic(self, event: Any) -> dict[str, Any] | None:
        text = str(event.message or "").strip()
        messages = {"error": self.errors, "warning": self.warnings}.get(event.severity)
        if messages is None or not text or event.ephemeral:
            return None
        messages.append(f"{label(event.urn)}: {text}" if event.urn else text)
        return {"event": event.severity, "urn": event.urn or None, "message": text}

    def _policy(self, event: Any) -> dict[str, Any]:
        violation = {
            "policy": event.policy_name,
            "level": event.enforcement_level,
            "urn": event.resource_urn or "",
            "message": str(event.message).strip(),
        }
        self.violations.append(violation)
        return {"event": "policy", **violation}


def _word(operation: Any) -> str:
    return str(getattr(operation, "value", operation))


def _step_event(step: Step, status: str) -> dict[str, Any]:
    seconds = {} if status == "begun" else {"seconds": round(time.monotonic() - step.began, 1)}
    return {
        "event": "resource",
        "status": status,
        "operation": step.operation,
        "resource": label(step.urn),
        "urn": step.urn,
        "account": step.account or None,
        **seconds,
    }


def describe_failure(operation: str, stack: str, progress: Progress, error: Exception, exit_code: int) -> str:
    """Describe a failed run: the engine's errors, the findings of policies, and what to do next.

    Args:
        operation: the command, such as `up`.
        stack: name of the stack.
        progress: summary of the engine's events.
        error: the SDK's exception.
        exit_code: the engine's exit code; minus the signal's number if a signal ended the engine.
    """
    lines = [f"{operation} of {stack} failed:"]
    if exit_code < 0:
        lines.append(f"  the engine was ended by signal {-exit_code}")
    errors = list(dict.fromkeys(progress.errors)) or [error_lines(error)]
    lines += [f"  {text}" for text in errors[:MOST_ERRORS]]
    if len(errors) > MOST_ERRORS:
        lines.append(f"  and {len(errors) - MOST_ERRORS} more")
    lines += [
        f"  {violation['policy']} ({violation['level']}): {violation['message']}"
        for violation in progress.violations
        if violation["level"] == "mandatory"
    ]
    if progress.expired:
        lines.append(
            "  credentials ran out, or are refused: log in again, or give the job a longer timeout. AWS renews a profile's credentials while "
            "its token file or source profile is valid; a GitLab ID token ends with its job's timeout"
        )
    lines.append(f"  what was made is in the state; `runner-platform {operation} --stack {stack}` goes on from there")
    return "\n".join(lines)


def error_lines(error: Exception) -> str:
    """Return the engine's own error lines, without the usage text and the SDK's frame."""
    text = str(error)
    lines = [line.strip() for line in text.splitlines() if "error:" in line]
    return "\n  ".join(dict.fromkeys(lines[:MOST_ERRORS])) or text.strip()[-2000:]
