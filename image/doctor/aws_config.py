"""The AWS config that SDKs read: its profiles, their roles, and the class of the config."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from image.doctor import aws_files

if TYPE_CHECKING:
    from collections.abc import Mapping

BASE = "base"
DEFAULT = "default"
NO_IDENTITY = "no-identity"
"""Program of the image; every profile runs it in a container without an identity."""
CLASSES = Path("/etc/runner-platform/classes")
"""Folder of the image with the config of every class."""
_ROLE = re.compile(r"arn:(?P<partition>[\w-]+):iam::(?P<account>\d{12}):role/(?:.*/)?(?P<name>[^/]+)$")
_SESSION_FILE = re.compile(r"cat (?P<file>/\S+)$")
"""`credential_process` of a class on machines."""
_JOB_ROLE = re.compile(r"runner-(?P<runner_class>[a-z][a-z0-9]{1,15})(?:-(?P<stack>[a-z][a-z0-9]{1,15}))?$")


class ConfigError(Exception):
    """The config cannot be used; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """A section of the config."""

    name: str
    role_arn: str
    """Role of the profile; empty if it names no role."""
    source: str
    """`source_profile`; empty if the profile is not chained."""
    token_file: str
    """Path of its token; empty if the profile is chained."""
    region: str
    session: str
    process: str
    """`credential_process`."""

    @property
    def session_file(self) -> str:
        """File with the session that the machine keeps; empty if the profile has another source."""
        session_file = _SESSION_FILE.match(self.process)
        return session_file["file"] if session_file else ""

    @property
    def account(self) -> str:
        """Account of the role; empty without a role."""
        role = _ROLE.match(self.role_arn)
        return role["account"] if role else ""

    @property
    def role(self) -> str:
        """Name of the role without its path. A session that the machine keeps has the name of its role."""
        role = _ROLE.match(self.role_arn)
        return role["name"] if role else self.session if self.session_file else ""

    def is_role_of(self, session_arn: str) -> bool:
        """Whether a session belongs to this profile's role. The ARN of a session lacks the role's path."""
        role = _ROLE.match(self.role_arn)
        if role is None:
            return bool(self.role) and f":assumed-role/{self.role}/" in session_arn
        prefix = f"arn:{role['partition']}:sts::{role['account']}:assumed-role/{role['name']}/"
        return session_arn.startswith(prefix)


@dataclass(frozen=True, kw_only=True)
class Config:
    """A whole config file."""

    file: Path
    profiles: Mapping[str, Profile]
    content: aws_files.AwsFile
    """Sections as they are written."""

    @property
    def runner_class(self) -> str:
        """Class of the config, read from the role of `base`; empty if that is not a job role of the platform."""
        return _part_of_job_role(self.profiles, "runner_class")

    @property
    def stack(self) -> str:
        """Stack of the config; empty for prod."""
        return _part_of_job_role(self.profiles, "stack")

    @property
    def is_without_identity(self) -> bool:
        """Whether this is the image's config for containers without an identity."""
        return any(profile.process.endswith(NO_IDENTITY) for profile in self.profiles.values())

    @property
    def token_file(self) -> Path | None:
        """Path of the class's token."""
        files = [profile.token_file for profile in self.profiles.values() if profile.token_file]
        return Path(files[0]) if files else None

    @property
    def session_file(self) -> Path | None:
        """Path of the session that the machine keeps for the class."""
        files = [profile.session_file for profile in self.profiles.values() if profile.session_file]
        return Path(files[0]) if files else None

    @property
    def session(self) -> str:
        """Role session name, as CloudTrail shows it."""
        return next((profile.session for profile in self.profiles.values() if profile.session), "")


def in_force(environment: Mapping[str, str]) -> Path:
    """Return the config file that SDKs read."""
    home = environment.get("HOME") or "~"
    return Path(os.path.expanduser(environment.get("AWS_CONFIG_FILE") or f"{home}/.aws/config"))  # noqa: PTH111  # raises nothing


def read(file: Path) -> Config:
    """Read a config file.

    Raises:
        ConfigError: the file is missing, unreadable, or not an AWS config.
    """
    try:
        content = aws_files.read(file)
    except FileNotFoundError:
        raise ConfigError(f"there is no AWS config at {file}") from None
    except OSError as error:
        raise ConfigError(f"the AWS config {file} cannot be read: {error.strerror}") from None
    if not content.sections:
        raise ConfigError(f"{file} is not an AWS config: it has no [section] in UTF-8")
    names = dict.fromkeys(section.profile for section in content.sections if _is_profile(section))
    profiles = {name: _profile(name, content.keys(name)) for name in names}
    return Config(file=file, profiles=profiles, content=content)


def classes_with(profile: str, folder: Path | None = None) -> list[str]:
    """Return the classes of the image that have a profile; empty outside of the image."""
    classes = []
    for file in sorted((folder or CLASSES).glob("*/config")):
        try:
            config = read(file)
        except ConfigError:
            continue
        if profile in config.profiles:
            classes.append(file.parent.name)
    return classes


def _is_profile(section: aws_files.Section) -> bool:
    without_word = (
        "a section without the word profile" in section.traps
    )  # a profile by mistake, or another kind of section
    return bool(section.profile) and (not without_word or "role_arn" in section.keys)


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


def _part_of_job_role(profiles: Mapping[str, Profile], part: str) -> str:
    base = profiles.get(BASE) or profiles.get(DEFAULT)
    role = _JOB_ROLE.match(base.role) if base else None
    return (role[part] or "") if role else ""
