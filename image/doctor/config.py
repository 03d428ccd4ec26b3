"""The AWS config in force: its profiles, the role that each ends in, and the class it was written for."""

from __future__ import annotations

import configparser
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "base"
DEFAULT = "default"
NO_IDENTITY = "no-identity"
"""The baked program that stands in every profile of a container without an identity."""
CLASSES = Path("/etc/runner-platform/classes")
"""Where the image keeps the config of every class."""
_ROLE = re.compile(r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role/(?:.*/)?(?P<name>[^/]+)$")
_JOB_ROLE = re.compile(r"runner-(?P<runner_class>[a-z][a-z0-9]{1,15})(?:-(?P<stack>[a-z][a-z0-9]{1,15}))?$")


class ConfigError(Exception):
    """The config cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A section of the config."""

    name: str
    role_arn: str
    """The role that it ends in; empty where it names none."""
    source: str
    """The profile that it chains to; empty where it starts by itself."""
    token_file: str
    """Where its token is; empty for a chained one."""
    region: str
    session: str
    process: str
    """`credential_process`."""

    @property
    def account(self) -> str:
        """The account of its role, empty where there is none."""
        found = _ROLE.match(self.role_arn)
        return found["account"] if found else ""

    @property
    def role(self) -> str:
        """Its role's name without the path."""
        found = _ROLE.match(self.role_arn)
        return found["name"] if found else ""

    def is_held_by(self, arn: str) -> bool:
        """Whether STS's answer is a session of this profile's role; STS leaves the role's path out."""
        found = _ROLE.match(self.role_arn)
        if found is None:
            return False
        return arn.startswith(f"arn:{found['partition']}:sts::{found['account']}:assumed-role/{found['name']}/")


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config file."""

    file: Path
    profiles: Mapping[str, Profile]

    @property
    def runner_class(self) -> str:
        """The class that it was written for, by the role of `base`; empty where it is none of the platform's."""
        return _of_job_role(self.profiles, "runner_class")

    @property
    def stack(self) -> str:
        """The stack, empty for prod's."""
        return _of_job_role(self.profiles, "stack")

    @property
    def is_baked_refusal(self) -> bool:
        """Whether this is the image's config for containers without an identity."""
        return any(profile.process.endswith(NO_IDENTITY) for profile in self.profiles.values())

    @property
    def token_file(self) -> Path | None:
        """Where the class's token should be."""
        found = [profile.token_file for profile in self.profiles.values() if profile.token_file]
        return Path(found[0]) if found else None

    @property
    def session(self) -> str:
        """The role session name that CloudTrail shows."""
        return next((profile.session for profile in self.profiles.values() if profile.session), "")


def in_force(environment: Mapping[str, str]) -> Path:
    """The config file that SDKs read."""
    home = environment.get("HOME") or "~"
    return Path(environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config").expanduser()


def read(file: Path) -> Config:
    """Read a config file.

    Raises:
        ConfigError: it is not there, cannot be read, or is no AWS config.
    """
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise ConfigError(f"there is no AWS config at {file}") from None
    except OSError as error:
        raise ConfigError(f"the AWS config {file} cannot be read: {error.strerror}") from None
    except (configparser.Error, UnicodeDecodeError) as error:
        raise ConfigError(f"{file} is no AWS config: {' '.join(str(error).split())}") from None
    profiles = {}
    for section in parser.sections():
        name = section.removeprefix("profile ").strip()
        if section == DEFAULT or section.startswith("profile "):
            profiles[name] = _profile(name, parser[section])
    return Config(file=file, profiles=profiles)


def classes_with(profile: str, folder: Path | None = None) -> list[str]:
    """Classes whose baked config has a profile; empty where the image bakes none."""
    found = []
    for file in sorted((folder or CLASSES).glob("*/config")):
        try:
            config = read(file)
        except ConfigError:
            continue
        if profile in config.profiles:
            found.append(file.parent.name)
    return found


def _profile(name: str, keys: Mapping[str, str]) -> Profile:
    return Profile(
        name=name,
        role_arn=keys.get("role_arn", ""),
        source=keys.get("source_profile", ""),
        token_file=keys.get("web_identity_token_file", ""),
        region=keys.get("region", ""),
        session=keys.get("role_session_name", ""),
        process=keys.get("credential_process", ""),
    )


def _of_job_role(profiles: Mapping[str, Profile], part: str) -> str:
    base = profiles.get(BASE) or profiles.get(DEFAULT)
    found = _JOB_ROLE.match(base.role) if base else None
    return (found[part] or "") if found else ""
