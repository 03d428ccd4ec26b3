"""What the policies found, and where a person mends it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi.runtime import proto

if TYPE_CHECKING:
    from collections.abc import Iterable

    from runner_platform.check.places import Places

MANDATORY, ADVISORY = "mandatory", "advisory"
SEVERITIES = {
    proto.POLICY_SEVERITY_LOW: "low",
    proto.POLICY_SEVERITY_MEDIUM: "medium",
    proto.POLICY_SEVERITY_HIGH: "high",
    proto.POLICY_SEVERITY_CRITICAL: "critical",
}
_ID = re.compile(r"^([A-Z]\d{2}): ")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a rule says of one resource."""

    rule: str
    """Id, such as T04."""
    name: str
    """Name of the policy."""
    level: str
    """`mandatory` or `advisory`."""
    severity: str
    """`low`, `medium`, `high` or `critical`."""
    urn: str
    """Empty where it is about the run as a whole."""
    message: str
    """What is wrong, and what to do; no value of a secret."""
    undecided: bool = False
    """The rule could not decide, because a value is not known."""
    deferred: bool = False
    """The document holds the issuer of a cluster that does not exist yet; it is judged on the deployed state."""
    file: str = ""
    """File to mend, relative to the project: the stack's, or a component's; empty where it cannot be told."""
    line: int = 0
    """Line in it, from 1."""
    setting: str = ""
    """The settings key at that line, dotted; empty where it is a component's."""
    made_at: str = ""
    """Where the program makes the resource, `file:line`; empty where that is not known."""

    @property
    def fails(self) -> bool:
        """Whether a gate may not let it pass: anything mandatory, and whatever could not be decided."""
        return (self.level == MANDATORY or self.undecided) and not self.deferred

    @property
    def where(self) -> str:
        """For people: the settings key with its line, and where the program makes the resource, as far as they are known."""
        setting = f"{self.setting}, {self.file}:{self.line}" if self.setting else ""
        return "; ".join(filter(None, [setting, self.made_at]))

    def __str__(self) -> str:
        """Level, rule and resource on one line, the message below."""
        word = "deferred" if self.deferred else "undecided" if self.undecided else self.level
        where = f" ({self.where})" if self.where else ""
        return f"{word} {self.rule} {self.name}: {self.urn or 'the whole stack'}{where}\n    {self.message.replace(chr(10), chr(10) + '    ')}"


def finding(diagnostic: Any, places: Places) -> Finding:
    """A diagnostic of the pack, `AnalyzeDiagnostic` of the protocol, as a finding."""
    description, _, text = diagnostic.message.partition("\n")
    known = _ID.match(description)
    place = places.of(diagnostic.policyName, diagnostic.urn)
    return Finding(
        rule=known.group(1) if known else diagnostic.policyName,
        name=diagnostic.policyName,
        level=MANDATORY if diagnostic.enforcementLevel == proto.MANDATORY else ADVISORY,
        severity=SEVERITIES.get(diagnostic.severity, "medium"),
        urn=diagnostic.urn,
        message=text or description,
        undecided=text.startswith("UNDECIDED"),
        deferred=text.startswith("DEFERRED"),
        file=place.file,
        line=place.line,
        setting=place.setting,
        made_at=place.made_at,
    )


def findings(diagnostics: Iterable[Any], places: Places) -> list[Finding]:
    """All diagnostics, in the order in which they came."""
    return [finding(each, places) for each in diagnostics]
