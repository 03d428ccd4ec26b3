"""The runner's configuration in one Helm release: `runners.config`, the only place where a release of the platform sets the runner.

Rules ask here for a setting. Whatever else a release could set the runner with (environment variables, legacy values, a second table) is
not in the table of `policies/release_table.py`, so rule R10 refuses it. If the text does not parse, has more than one `[[runners]]` or
contains a template expression, the settings that the runner will read are unknown: rule R09 refuses that, the other rules are UNDECIDED.
Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/ and the chart's values.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import TYPE_CHECKING

from access import runner_toml
from access.runner_toml import RunnerToml
from components.documents import job_identity
from config.names import namespace_manager
from config.runners import of_kubernetes
from policies.fields import ABSENT, Field, contains_unknown

if TYPE_CHECKING:
    from policies.rule import CheckedResource

CONFIG = "values.runners.config"
ENTRY = f"{CONFIG} [[runners]]"


@lru_cache(maxsize=64)
def _parse(text: str) -> tuple[RunnerToml, str]:
    """Return `(configuration, problem)` of a TOML text; cached, because eight rules ask about each release."""
    try:
        return runner_toml.read(text), ""
    except tomllib.TOMLDecodeError as error:
        return RunnerToml(), f"is not TOML: {error}"


class RunnerConfig:
    """The runner's configuration in one release."""

    def __init__(self, release: CheckedResource) -> None:
        self.release = release
        self.values = release["values"]
        self._config = self.values["runners"]["config"]
        self.problem = ""
        """Why the configuration cannot be read; empty if it can be read or is unknown."""
        self.toml = RunnerToml()
        """The whole text, as the runner reads it."""
        self.entry = Field(self._parsed(), ENTRY, release.undecide)
        """The one `[[runners]]`."""
        self.kubernetes = self.entry["kubernetes"]
        """Its `[runners.kubernetes]`."""

    def _parsed(self) -> object:
        text = self._config.value
        if contains_unknown(text):
            self._config.undecide()
            return ABSENT
        if not isinstance(text, str):
            self.problem = (
                "is missing, so the chart uses its own default; write it with components/documents/config_toml.py"
            )
            return ABSENT
        self.toml, self.problem = _parse(text)
        if self.problem:
            return ABSENT
        runners = self.toml.runners
        if not isinstance(runners, list) or len(runners) != 1 or not isinstance(runners[0], dict):
            self.problem = "does not have exactly one [[runners]]"
            return ABSENT
        if "{{" in text:
            self.problem = "contains a template expression, which the chart fills in"
        return runners[0]

    @property
    def runner_class(self) -> str | None:
        """Name of the release's runner class, by the manager's namespace; None for another namespace."""
        settings = self.release.run.platform_settings
        namespace = self.release["namespace"].text()
        classes = of_kubernetes(settings.runners) if settings else {}
        return next((name for name in classes if namespace_manager(name) == namespace), None)

    def setting(self, key: str) -> Field:
        """Return a key of `[runners.kubernetes]`; if the configuration cannot be read, this counts as undecided."""
        if self.problem and self.entry.value is ABSENT:
            self._config.undecide()
        return self.kubernetes[key]

    def patches(self) -> list[Field]:
        """Return the patches of the pod's specification."""
        return list(self.kubernetes["pod_spec"].items())

    @property
    def patches_apply(self) -> bool | None:
        """Whether the feature flag for patches is on."""
        return self.entry["feature_flags"][job_identity.FEATURE_FLAG].flag(default=False)
