"""What the engine tells while it runs, reduced to what people and machines may see.

Owns the meaning of the engine's events: what is in progress, in which account, what is done, what went wrong. States and values of
resources are left out of everything that is shown or written, since they may hold secrets.
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
"""Codes of AWS's services (IAM Identity Center's included) for credentials that ran out or are gone, and OAuth's, which GitLab answers with.

Sources: https://docs.aws.amazon.com/IAM/latest/APIReference/CommonErrors.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html,
https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html, https://www.rfc-editor.org/rfc/rfc6750#section-3.1
"""
EXPIRED: Final = re.compile(
    # Whole words: `UnauthorizedOperation` is a permission that is missing, and 401 may be a port.
    rf"\b(?:{'|'.join(EXPIRED_CODES)})\b|\bUnauthorized\b|: 401\b|StatusCode: 401\b|is GITLAB_TOKEN set"
    r"|(?i:expired token|\b(?:token|session|credentials?)\b[^.:]{0,60}\bexpired)"
    r"|asked for the client to provide credentials"
)
UNCERTAIN: Final = re.compile(
    r"error reading from server|exited prematurely|code = Unavailable|transport is closing"
    r"|[Tt]ime(?:d )?[Oo]ut|deadline exceeded|connection reset|\bEOF\b|broken pipe"
)
"""A provider's process ended, or its request was never answered."""
_PARTS: Final = 4


def label(urn: str) -> str:
    """Short name of a resource: the last part of its type, and its name."""
    return f"{type_of(urn).rpartition(':')[2]} {urn.rpartition('::')[2]}".strip()


def type_of(urn: str) -> str:
    """Type token of a resource; empty for what is no URN."""
    parts = urn.split("::")
    return parts[2].rpartition("$")[2] if len(parts) >= _PARTS else ""


def account_of(provider: str) -> str:
    """Name of the account that a provider reference (`<urn>::<id>`) leads to; empty outside AWS."""
    urn = provider.rpartition("::")[0]
    return urn.rpartition("::")[2] if "pulumi:providers:aws" in urn else ""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation on one resource."""

    urn: str
    operation: str
    account: str
    began: float
    """Seconds of the monotonic clock."""

    @property
    def name(self) -> str:
        """For people: `Role small-job in cicd`."""
        return label(self.urn) + (f" in {self.account}" if self.account else "")


@dataclass
class Progress:
    """What the events so far say."""

    running: dict[str, Step] = field(default_factory=dict)
    """By URN, what is in progress."""
    done: dict[str, int] = field(default_factory=dict)
    """Number of finished operations by kind; `same` counts what stayed as it is."""
    finished: set[str] = field(default_factory=set)
    """URNs whose operation is done, whatever it was."""
    failed: list[str] = field(default_factory=list)
    """URNs whose operation failed."""
    unfinished: list[dict[str, Any]] = field(default_factory=list)
    """Resources whose creation failed, as a state would hold them, without an id. Never shown."""
    live: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """By URN, inputs and outputs as a refresh found them where they differ; None where the resource is gone. Never shown."""
    errors: list[str] = field(default_factory=list)
    """Diagnostics of severity error, each with the resource they belong to."""
    warnings: list[str] = field(default_factory=list)
    violations: list[dict[str, str]] = field(default_factory=list)
    """What policies said: `{policy, level, urn, message}`."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    """What changes: `{operation, urn, type, account, properties, reasons}`; names of properties, never values."""
    summary: dict[str, int] | None = None
    """Resources by operation, once the engine has finished."""

    def add(self, event: EngineEvent) -> dict[str, Any] | None:
        """Take one event into account; returns what a stream of events shows of it, None where it is nothing."""
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
        """Finished operations that changed something."""
        return sum(count for operation, count in self.done.items() if operation not in READS)

    @property
    def changes(self) -> dict[str, int]:
        """Resources by operation, without those that stay as they are."""
        return {name: count for name, count in (self.summary or self.done).items() if name not in READS}

    @property
    def throttled(self) -> bool:
        """Whether a cloud asked to be called less often."""
        return any(THROTTLED.search(text) for text in self.errors)

    @property
    def expired(self) -> bool:
        """Whether credentials ran out."""
        return any(EXPIRED.search(text) for text in self.errors)

    @property
    def uncertain(self) -> bool:
        """Whether nobody knows what became of a request: what was asked for may exist, and the engine takes it for never made."""
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
            self._change(metadata, step.account, operation)
        return _shown(step, "begun")

    def _end(self, metadata: StepEventMetadata) -> dict[str, Any] | None:
        operation = _word(metadata.op)
        step = self.running.pop(metadata.urn, None)
        now = metadata.new
        if step is not None and step.operation == "refresh" and (now is None or metadata.diffs):
            self._change(metadata, step.account, "update" if now else "delete")
            self.live[metadata.urn] = (
                {"inputs": dict(now.inputs or {}), "outputs": dict(now.outputs or {})} if now else None
            )
        self.done[operation] = self.done.get(operation, 0) + 1
        self.finished.add(metadata.urn)
        return _shown(step, "done") if step else None

    def _change(self, metadata: StepEventMetadata, account: str, operation: str) -> None:
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
        return _shown(step, "failed") if step else None

    def _diagnostic(self, event: Any) -> dict[str, Any] | None:
        text = str(event.message or "").strip()
        wanted = {"error": self.errors, "warning": self.warnings}.get(event.severity)
        if wanted is None or not text or event.ephemeral:
            return None
        wanted.append(f"{label(event.urn)}: {text}" if event.urn else text)
        return {"event": event.severity, "urn": event.urn or None, "message": text}

    def _policy(self, event: Any) -> dict[str, Any]:
        found = {
            "policy": event.policy_name,
            "level": event.enforcement_level,
            "urn": event.resource_urn or "",
            "message": str(event.message).strip(),
        }
        self.violations.append(found)
        return {"event": "policy", **found}


def _word(operation: Any) -> str:
    return str(getattr(operation, "value", operation))


def _shown(step: Step, status: str) -> dict[str, Any]:
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
