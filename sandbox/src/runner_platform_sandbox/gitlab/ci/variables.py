"""CI/CD variables: their values, precedence and expansion.

https://docs.gitlab.com/ci/variables/#cicd-variable-precedence and https://docs.gitlab.com/ci/variables/where_variables_can_be_used/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from runner_platform_sandbox.gitlab.ci.errors import PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_NAME: Final = "[a-zA-Z_][a-zA-Z0-9_]*"
_REFERENCE: Final = re.compile(rf"\$({_NAME})|\$\{{({_NAME})\}}|%({_NAME})%")


@dataclass(frozen=True, kw_only=True)
class Variable:
    """A CI/CD variable, with the fields of the runner's job response."""

    name: str
    value: str
    """Text as written, with `$NAME` of other variables in it."""
    raw: bool = False
    """Whether `$NAME` in the value stays as it is (`expand: false`)."""
    public: bool = True
    """Whether the runner may show it; false for variables of the project's settings."""
    masked: bool = False
    file: bool = False
    """Whether the job gets a file with the value, and the file's name as the variable."""
    protected: bool = False
    """Whether only protected branches and tags get it."""
    environment_scope: str = "*"
    """Name or pattern of the environments whose jobs get it."""


def expand(text: str, values: Mapping[str, str], *, unknown: str | None = None) -> str:
    """Replace `$NAME`, `${NAME}` and `%NAME%` in a text by values.

    Args:
        text: The text.
        values: Values by name. They are inserted as they are.
        unknown: Replaces references to other names; None leaves such references as they are.
    """

    def value(reference: re.Match[str]) -> str:
        fallback = reference[0] if unknown is None else unknown
        return values.get(_name_in(reference), fallback)

    return _REFERENCE.sub(value, text)


def merged(*groups: Iterable[Variable]) -> tuple[Variable, ...]:
    """Return one variable a name, the lowest precedence first; later groups win."""
    by_name: dict[str, Variable] = {}
    for variable in (variable for group in groups for variable in group):
        by_name.pop(variable.name, None)
        by_name[variable.name] = variable
    return tuple(by_name.values())


def expanded(variables: Iterable[Variable]) -> tuple[Variable, ...]:
    """Expand the values of variables with each other, at any depth, as GitLab does before a runner gets them.

    References to unknown variables and to file variables stay: the runner and the job's shell expand those.

    Raises:
        PipelineError: A variable refers to itself.
    """
    by_name = {variable.name: variable for variable in variables}

    def value_of(name: str, path: tuple[str, ...]) -> str | None:
        variable = by_name.get(name)
        if variable is None or (path and variable.file):
            return None
        if name in path:
            raise PipelineError(
                f"variable {name}: its value refers to itself ({' -> '.join([*path, name])}); break the circle"
            )
        if variable.raw:
            return variable.value
        return _substituted(variable.value, lambda inner: value_of(inner, (*path, name)))

    return tuple(replace(variable, value=value_of(name, ()) or "") for name, variable in by_name.items())


def values_of(variables: Iterable[Variable]) -> dict[str, str]:
    """Return values by name."""
    return {variable.name: variable.value for variable in variables}


def _name_in(reference: re.Match[str]) -> str:
    return reference[1] or reference[2] or reference[3]


def _substituted(text: str, value_of: Callable[[str], str | None]) -> str:
    def value(reference: re.Match[str]) -> str:
        known_value = value_of(_name_in(reference))
        return reference[0] if known_value is None else known_value

    return _REFERENCE.sub(value, text)
