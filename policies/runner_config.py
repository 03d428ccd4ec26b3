"""What a Helm release tells its runner, through every door.

The same setting can be given in the TOML text, as a legacy value of the chart, and as an environment variable of the manager, which wins over
the TOML. Rules ask here for a setting and get every place that sets it. A text that does not parse, more than one `[[runners]]`, or a
template expression inside means that nobody can say what the runner will read: rule R09 refuses them, the others are UNDECIDED.
Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/ and the chart's values.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from components.documents import job_identity
from config.names import namespace_manager
from policies.fields import ABSENT, Field, holds_unknown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.rule import CheckedResource

CONFIG = "values.runners.config"
SECURITY_CONTEXTS = (
    "build_container_security_context",
    "helper_container_security_context",
    "service_container_security_context",
    "init_permissions_container_security_context",
)
ENVIRONMENTS = ("envVars", "extraEnv")
"""Values that become environment variables of the manager, by name and value."""


@lru_cache(maxsize=64)
def _runners(text: str) -> tuple[Any, str]:
    """What a text has under `runners`, and why it cannot be read, if so. Seven rules ask about each release."""
    try:
        return tomllib.loads(text).get("runners"), ""
    except tomllib.TOMLDecodeError as error:
        return None, f"is not TOML: {error}"


class RunnerConfig:
    """The runner's configuration in one release."""

    def __init__(self, release: CheckedResource) -> None:
        self.release = release
        self.values = release["values"]
        self._config = self.values["runners"]["config"]
        self.problem = ""
        """Why the configuration cannot be read; empty where it can, or is not known."""
        self.entry = Field(self._parsed(), f"{CONFIG} [[runners]]", release.undecide)
        """The one `[[runners]]`."""
        self.kubernetes = self.entry["kubernetes"]
        """Its `[runners.kubernetes]`."""

    def _parsed(self) -> object:
        text = self._config.value
        if holds_unknown(text):
            self._config.undecided(self._config.path)
            return ABSENT
        if not isinstance(text, str):
            self.problem = "is missing, so the chart's own default holds"
            return ABSENT
        runners, self.problem = _runners(text)
        if self.problem:
            return ABSENT
        if not isinstance(runners, list) or len(runners) != 1 or not isinstance(runners[0], dict):
            self.problem = "does not have exactly one [[runners]]"
            return ABSENT
        if "{{" in text:
            self.problem = "holds a template expression, which the chart fills in"
        return runners[0]

    @property
    def runner_class(self) -> str | None:
        """The class that the release is of, by its namespace; None where it is of none."""
        settings = self.release.surroundings.runners
        namespace = self.release["namespace"].text()
        return (
            next((each for each in settings.runners if namespace_manager(each) == namespace), None)
            if settings
            else None
        )

    def everywhere(self, key: str) -> Iterator[Field]:
        """Every place that sets a key of `[runners.kubernetes]`: TOML, environment, legacy value."""
        if self.problem and self.entry.value is ABSENT:
            self._config.undecided(self._config.path)
        words = key.split("_")
        legacy = words[0] + "".join(word.title() for word in words[1:])
        places = (self.kubernetes[key], *self.environment(f"KUBERNETES_{key.upper()}"), self.values["runners"][legacy])
        yield from (each for each in places if not each.absent)

    def environment(self, name: str | None = None) -> Iterator[Field]:
        """Environment variables of the manager, all or those of one name; without case, as the chart does not mind."""
        for each in self.values["envVars"].items():
            if name is None or each["name"].text("") == name:
                yield each["value"]
        for key, each in self.values["extraEnv"].entries():
            if name is None or key == name:
                yield each

    def patches(self) -> list[Field]:
        """Patches of the pod's specification."""
        return list(self.kubernetes["pod_spec"].items())

    @property
    def patches_apply(self) -> bool | None:
        """Whether the feature flag for patches is on."""
        return self.entry["feature_flags"][job_identity.FEATURE_FLAG].flag(default=False)
