"""CI/CD variables: their values, precedence and expansion.

https://docs.gitlab.com/ci/variables/#cicd-variable-precedence
"""

from __future__ import annotations

from dataclasses import dataclass


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
