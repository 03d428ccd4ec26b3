"""What the policy pack said within the engine, as the findings that every report is made from.

The engine's events carry no severity, so the pack itself is asked for that; what it found is never judged anew here, since the engine
knew values that nobody else does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi.runtime import proto

from runner_platform.check.findings import MANDATORY, finding
from runner_platform.check.judge import pack_for
from runner_platform.check.places import Places

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from runner_platform.check.findings import Finding
    from runner_platform.check.shown import Shown
    from runner_platform.driver.project import Project


@dataclass(frozen=True, kw_only=True)
class Rules:
    """The rules that judge a project; none for another than the platform's."""

    names: list[tuple[str, str]] = field(default_factory=list)
    """Id and name of each."""
    severities: dict[str, Any] = field(default_factory=dict)
    """`PolicySeverity` of the protocol, by name."""
    settings: dict[str, list[str]] = field(default_factory=dict)
    """Paths of the settings that each judges, by name."""


def rules_of(project: Project) -> Rules:
    """The rules of the packs that the engine runs.

    Raises:
        FailedError: a pack cannot be started.
    """
    found = Rules()
    for folder in project.policies:
        with pack_for(project.stack, policies=Path(folder)) as pack:
            found.names.extend(pack.rules())
            found.severities.update({each.name: each.severity for each in pack.info().policies})
            found.settings.update(pack.settings())
    return found


def of_events(
    stack: str, violations: Iterable[Mapping[str, str]], rules: Rules, resources: Iterable[Shown] = ()
) -> list[Finding]:
    """Findings, in the order in which the engine told them.

    Args:
        stack: its name.
        violations: `Progress.violations`.
        rules: what `rules_of` gave.
        resources: the program's, from a mock run, which knows where it makes each.
    """
    if not rules.names:
        return []
    places = Places(stack, list(resources), rules.settings)
    return [_finding(each, rules, places) for each in violations]


def _finding(violation: Mapping[str, str], rules: Rules, places: Places) -> Finding:
    diagnostic = proto.AnalyzeDiagnostic(
        policyName=violation["policy"],
        message=violation["message"],
        enforcementLevel=proto.MANDATORY if violation["level"] == MANDATORY else proto.ADVISORY,
        urn=violation["urn"],
        severity=rules.severities.get(violation["policy"], proto.POLICY_SEVERITY_UNSPECIFIED),
    )
    return finding(diagnostic, places)
