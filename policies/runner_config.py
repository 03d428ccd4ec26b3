"""The runner's configuration in one Helm release, from every place where a setting can be given.

A setting can be given in the TOML text, as a legacy value of the chart, and as an environment variable of the manager, which wins over the
TOML. Rules ask here for a setting and get every place that sets it. If the text does not parse, has more than one `[[runners]]` or contains
a template expression, the settings that the runner will read are unknown: rule R09 refuses that, the other rules are UNDECIDED.
Source: https://docs.gitlab.com/runner/configuration/advanced-configuration/ and the chart's values.
"""

from __future__ import annotations

import tomllib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from components.documents import job_identity
from config.names import namespace_manager
from policies.fields import ABSENT, Field, contains_unknown

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


@lru_cache(maxsize=64)
def _parse(text: str) -> tuple[Any, str]:
    """Return `(runners, problem)` of a TOML text; cached, because seven rules ask about each release."""
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
        """Why the configuration cannot be read; empty if it can be read or is unknown."""
        self.entry = Field(self._parsed(), f"{CONFIG} [[runners]]", release.undecide)
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
        runners, self.problem = _parse(text)
        if self.problem:
            return ABSENT
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
        classes = settings.runners if settings else ()
        return next((name for name in classes if namespace_manager(name) == namespace), None)

    def everywhere(self, key: str) -> Iterator[Field]:
        """Yield every place that sets a key of `[runners.kubernetes]`: TOML, environment variable, legacy value."""
        if self.problem and self.entry.value is ABSENT:
            self._config.undecide()
        words = key.split("_")
        legacy = words[0] + "".join(word.title() for word in words[1:])
        places = (self.kubernetes[key], *self.environment(f"KUBERNETES_{key.upper()}"), self.values["runners"][legacy])
        yield from (place for place in places if not place.absent)

    def environment(self, name: str | None = None) -> Iterator[Field]:
        """Yield the manager's environment variables: all, or those with a name."""
        for variable in self.values["envVars"].items():
            if name is None or variable["name"].text("") == name:
                yield variable["value"]
        for key, value in self.values["extraEnv"].entries():
            if name is None or key == name:
                yield value

    def patches(self) -> list[Field]:
        """Return the patches of the pod's specification."""
        return list(self.kubernetes["pod_spec"].items())

    @property
    def patches_apply(self) -> bool | None:
        """Whether the feature flag for patches is on."""
        return self.entry["feature_flags"][job_identity.FEATURE_FLAG].flag(default=False)
