"""Findings from the policy pack's diagnostics, with the place to change: a settings key, or else the component.

A rule names the settings keys that decide the value it looks at (`Rule.settings`), as paths with placeholders: `{runner}`, `{account}`,
`{level}`, `{entry}`. They are filled from the components around the resource; the first path in the stack's file is the place.
"""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulumi.runtime import proto

from config import load
from config import stack_file as stack_files
from config.errors import SettingsError
from runner_platform.reports.findings import ADVISORY, MANDATORY, Finding
from runner_platform.stacks import project_of, stack_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from access.resource import Resource

SETTING_TAG = "setting:"
"""Prefix of a policy's tag that holds a path of `Rule.settings`."""
SEVERITIES = {
    proto.POLICY_SEVERITY_LOW: "low",
    proto.POLICY_SEVERITY_MEDIUM: "medium",
    proto.POLICY_SEVERITY_HIGH: "high",
    proto.POLICY_SEVERITY_CRITICAL: "critical",
}
_ID = re.compile(r"^([A-Z]\d{2}): ")


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place to change after a finding; its fields are those of `Finding`."""

    file: str = ""
    line: int = 0
    setting: str = ""
    made_at: str = ""


class Places:
    """Places of one stack's findings."""

    def __init__(self, stack: str, resources: Iterable[Resource], paths: Mapping[str, Sequence[str]]) -> None:
        """Read the stack's file once.

        Args:
            stack: name of the stack.
            resources: every resource that the policies saw.
            paths: `Rule.settings` by name of the policy.
        """
        self._by_urn = {resource.urn: resource for resource in resources}
        self._paths = paths
        self._file = stack_file(stack)
        self._lines = lines_of(self._file, project_of(stack))

    def of(self, policy: str, urn: str) -> Place:
        """The place for a policy's finding on a resource; on the whole stack when the URN is empty."""
        made_at = self._by_urn[urn].source if urn in self._by_urn else ""
        values = dict(self._placeholders(urn))
        for path in self._paths.get(policy, ()):
            if _placeholders_in(path) <= set(values) and (setting := path.format(**values)) in self._lines:
                return Place(file=self._file, line=self._lines[setting], setting=setting, made_at=made_at)
        file, _, line = made_at.rpartition(":")
        return Place(file=file, line=int(line or 0), made_at=made_at)

    def _placeholders(self, urn: str) -> Iterator[tuple[str, str]]:
        """Placeholders and their values, from the resource's provider and the components around it."""
        resource = self._by_urn.get(urn)
        if resource is not None and resource.type.startswith(("aws:", "pulumi:providers:aws")):
            yield "account", (resource.provider or urn).rpartition("::")[2]
        while resource is not None:
            component = resource.type.rpartition(":")[2]
            if component == "Runner":
                yield "runner", resource.name
            elif component == "GitLabRole":
                yield "entry", resource.name.removeprefix("gitlab-")
            elif component == "DelegatedRole":
                yield "level", resource.name.rpartition("-")[2]
            resource = self._by_urn.get(resource.parent)


def _placeholders_in(path: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(path) if name}


def lines_of(file: str, project: str) -> Mapping[str, int]:
    """The line of every key of a stack file, by dotted path below the project's namespace; empty for an unreadable file."""
    try:
        return stack_files.read(load.ROOT / file, project).lines
    except SettingsError:
        return {}


def finding(diagnostic: Any, places: Places) -> Finding:
    """The finding of one diagnostic, `AnalyzeDiagnostic` of the protocol."""
    description, _, text = diagnostic.message.partition("\n")
    rule_id = _ID.match(description)
    place = places.of(diagnostic.policyName, diagnostic.urn)
    return Finding(
        rule=rule_id.group(1) if rule_id else diagnostic.policyName,
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
    """The findings of diagnostics, in their order."""
    return [finding(diagnostic, places) for diagnostic in diagnostics]
