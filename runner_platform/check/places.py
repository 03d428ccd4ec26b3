"""Where a person mends a finding: at the settings key that decides what the rule judges, else at the component that makes the resource.

Rules say which key that is (`Rule.settings`), as a path with marks for what a resource belongs to: its class, its account, its trust level
there, its entry of `gitlab_oidc`. Owns filling the marks, from the components that a resource is within, and finding the key's line.
"""

from __future__ import annotations

import string
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from config import foundation, load
from config import settings as platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from runner_platform.check.shown import Shown

MARKED = "setting:"
"""How a policy's tags tell a path of `Rule.settings`."""
CONFIG = "config"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a finding is shown."""

    file: str = ""
    """Relative to the project: the stack's, or a component's; empty where it cannot be told."""
    line: int = 0
    """From 1."""
    setting: str = ""
    """The settings key at that line, dotted; empty where it is a component's."""
    made_at: str = ""
    """Where the program makes the resource, `file:line`; empty where that is not known."""


def stack_file(stack: str) -> str:
    """The file that holds a stack's settings."""
    return "foundation/Pulumi.foundation.yaml" if stack == foundation.STACK else f"Pulumi.{stack}.yaml"


class Places:
    """Places of one stack's findings."""

    def __init__(self, stack: str, resources: Iterable[Shown], paths: Mapping[str, Sequence[str]]) -> None:
        """Look into the stack's file once.

        Args:
            stack: the stack that is judged.
            resources: everything that was shown to the rules.
            paths: `Rule.settings` by name of the policy.
        """
        self._by_urn = {each.urn: each for each in resources}
        self._paths = paths
        self._file = stack_file(stack)
        self._lines = lines_of(self._file, foundation.PROJECT if stack == foundation.STACK else platform.PROJECT)

    def of(self, policy: str, urn: str) -> Place:
        """The place of what a policy says of a resource; of the stack as a whole where the URN is empty."""
        made_at = self._by_urn[urn].source if urn in self._by_urn else ""
        marks = dict(self._marks(urn))
        for path in self._paths.get(policy, ()):
            if _names(path) <= set(marks) and (filled := path.format(**marks)) in self._lines:
                return Place(file=self._file, line=self._lines[filled], setting=filled, made_at=made_at)
        file, _, line = made_at.rpartition(":")
        return Place(file=file, line=int(line or 0), made_at=made_at)

    def _marks(self, urn: str) -> Iterator[tuple[str, str]]:
        """What a resource belongs to, as marks and their names."""
        shown = self._by_urn.get(urn)
        if shown is not None and shown.type.startswith(("aws:", "pulumi:providers:aws")):
            yield "account", (shown.provider or urn).rpartition("::")[2]
        while shown is not None:
            kind = shown.type.rpartition(":")[2]
            if kind == "Runner":
                yield "runner", shown.name
            elif kind == "GitLabRole":
                yield "entry", shown.name.removeprefix("gitlab-")
            elif kind == "DelegatedRole":
                yield "level", shown.name.rpartition("-")[2]
            shown = self._by_urn.get(shown.parent)


def _names(path: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(path) if name}


def lines_of(file: str, project: str) -> dict[str, int]:
    """The line of every key of a stack file, by its dotted path below the project's namespace; none of a file that cannot be read."""
    try:
        root = yaml.compose((load.ROOT / file).read_text(), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return {}
    return {
        path.removeprefix(f"{CONFIG}.{project}:"): line
        for path, line in _keys(root)
        if path.startswith(f"{CONFIG}.{project}:")
    }


def _keys(node: yaml.Node | None, head: str = "") -> Iterator[tuple[str, int]]:
    for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
        path = f"{head}{key.value}"
        yield path, key.start_mark.line + 1
        yield from _keys(value, f"{path}.")
