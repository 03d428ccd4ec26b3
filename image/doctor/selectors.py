"""What selects the identity of a job in each SDK: variables, sections, and places of AWS files that SDKs read differently.

Nobody decides here what an SDK does. `EFFECTS` holds what the real SDKs did in more than a hundred environments from public reports
(tests/data/aws-environments.yaml); a test compares them. It also covers the SDKs that this image does not have.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from image.doctor import aws_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from image.doctor.aws_config import Config, Profile

SDKS = ("boto3", "cli", "javascript", "go")
WORDS = {"T": "taken", "I": "ignored", "R": "refused"}
"""What an SDK does with the selector: it decides the identity, it changes nothing, or the SDK gives no identity."""
KEYS = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
IRSA = "AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE"

EFFECTS = {
    "AWS_PROFILE": "TTTT",
    "AWS_PROFILE without such a profile": "RRRR",
    "AWS_PROFILE, empty": "RRII",
    "AWS_PROFILE, empty, beside AWS_DEFAULT_PROFILE": "IRII",
    "AWS_DEFAULT_PROFILE": "TTIT",
    "AWS_DEFAULT_PROFILE without such a profile": "RRIR",
    "AWS_DEFAULT_PROFILE beside another AWS_PROFILE": "TIII",
    "AWS_DEFAULT_PROFILE, empty": "RRII",
    "AWS_DEFAULT_PROFILE, empty, beside AWS_PROFILE": "RIII",
    KEYS: "TTTT",
    f"{KEYS} beside AWS_PROFILE": "TTIT",
    "AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY": "RRII",
    "AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN without AWS_ACCESS_KEY_ID": "IIII",
    "AWS_ACCESS_KEY or AWS_SECRET_KEY": "IIIT",
    IRSA: "TTIT",
    f"{IRSA} without the file": "RRIR",
    f"{IRSA} beside a profile with source_profile": "IIIT",
    "AWS_ROLE_ARN": "TTII",
    "AWS_ROLE_ARN beside a profile with source_profile": "IIII",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "TTIR",
    "AWS_WEB_IDENTITY_TOKEN_FILE, the class's own": "IIIR",
    "AWS_WEB_IDENTITY_TOKEN_FILE beside a profile with source_profile": "IIIR",
    "AWS_ROLE_ARN or AWS_WEB_IDENTITY_TOKEN_FILE, empty": "RRII",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "IIII",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI or AWS_CONTAINER_CREDENTIALS_RELATIVE_URI without a config": "TTTT",
    "BOTO_CONFIG or AWS_CREDENTIAL_FILE": "IIII",
    "BOTO_CONFIG or AWS_CREDENTIAL_FILE without a config": "TTII",
    "AWS_CONFIG_FILE, empty": "RRII",
    "AWS_ENDPOINT_URL without AWS_ENDPOINT_URL_STS": "TTTI",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS beside an endpoint": "TTTT",
    "keys in the credentials file for the profile": "IITT",
    "keys in the credentials file for a profile with source_profile": "IIII",
    "keys in the credentials file for a profile without a role": "TTTT",
    "keys in the credentials file for the source_profile": "IITT",
    "keys in the credentials file in capitals": "IIIT",
    "aws_access_key_id alone in the credentials file": "IIIR",
    "credential_process in the credentials file": "IIIR",
    "role_arn in the credentials file": "TTTT",
    "sso settings in the credentials file": "IIII",
    "[profile default] after [default]": "TTTT",
    "[profile default] before [default]": "IITT",
    "credential_source": "TTTT",
    "credential_process or keys in the config": "TTTT",
    "sso settings in the config": "RRRR",
    "a profile that leads to no credentials": "RRRR",
    "no region": "RRRI",
    "a byte order mark": "RRII",
    "a byte order mark before the profile's section": "RRIR",
    "text that is not UTF-8": "RRII",
    "a section twice": "RRII",
    "a section with a role twice": "RRTT",
    "a setting twice": "RRII",
    "a line before the first section": "RRII",
    "a line that is no setting": "RRII",
    "an indented section": "RRII",
    "a profile's name in quotes": "IIIR",
    "a space before the word profile": "RRRI",
    "spaces around a profile's name": "IIRI",
    "a colon for an equals sign": "IIRI",
    "a section without the word profile": "RRRR",
    "a setting in capitals": "IIRI",
    "a comment after a value": "RRII",
    "a value in quotes": "RRRI",
}
"""Effect in each of `SDKS`, in their order, by selector. Version 1 of the AWS CLI does as boto3 does."""
MEANT = frozenset(
    {
        "AWS_PROFILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_DEFAULT_PROFILE without such a profile",
        "AWS_ENDPOINT_URL without AWS_ENDPOINT_URL_STS",
    }
)
"""Selectors that a job uses on purpose: it is wrong if an SDK does not take them. Every other one is wrong if it changes anything."""


@dataclass(frozen=True, kw_only=True)
class Selector:
    """Something that selects an identity, and where it is."""

    name: str
    """A key of `EFFECTS`."""
    where: str = ""
    """File and line, or the profile that a variable names; never a secret."""

    @property
    def effects(self) -> dict[str, str]:
        """What each SDK does with it."""
        return {sdk: WORDS[letter] for sdk, letter in zip(SDKS, EFFECTS[self.name], strict=True)}

    @property
    def harmed(self) -> list[str]:
        """SDKs in which the job has another identity than it asks for, or none."""
        right = "taken" if self.name in MEANT else "ignored"
        return [sdk for sdk, word in self.effects.items() if word != right]

    @property
    def is_variable(self) -> bool:
        """Whether it is a variable, and not a place in a file."""
        return self.name.startswith(("AWS_", "BOTO_"))

    @property
    def cause(self) -> str:
        """Cause of `diagnosis` if it changes an identity."""
        if self.name == "no region":
            return "no-region"
        return "overridden" if self.is_variable else "misread"

    @property
    def has_own_finding(self) -> bool:
        """Whether another part of doctor reports it: a profile or a region that is missing."""
        return self.name == "no region" or self.name.endswith("without such a profile")

    def text(self) -> str:
        """Return the selector with its effects."""
        sdks: dict[str, list[str]] = {}
        for sdk, word in self.effects.items():
            sdks.setdefault(word, []).append(sdk)
        effects = "; ".join(f"{word} by {', '.join(names)}" for word, names in sdks.items())
        return f"{self.name}{f' ({self.where})' if self.where else ''}: {effects}"


def asked_profile(environment: Mapping[str, str]) -> str:
    """Return the name of the profile that a job asks for."""
    return environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"


def credentials_file(environment: Mapping[str, str]) -> Path:
    """Return the credentials file that SDKs read."""
    home = environment.get("HOME") or "~"
    return Path(os.path.expanduser(environment.get("AWS_SHARED_CREDENTIALS_FILE") or f"{home}/.aws/credentials"))  # noqa: PTH111  # raises nothing


def selectors(environment: Mapping[str, str], config: Config | None) -> list[Selector]:
    """Return everything that selects the identity of a job with these variables and this config."""
    profile = config.profiles.get(asked_profile(environment)) if config else None
    result = [
        *_profile_variables(environment, config),
        *_keys(environment),
        *_web_identity(environment, profile),
        *_elsewhere(environment, config),
    ]
    if config is not None:
        chain = _chain(config, profile)
        result += [
            *_traps(config.content, chain),
            *_defaults(config.content, chain),
            *_settings(environment, config, chain),
        ]
        try:
            credentials = aws_files.read(credentials_file(environment), credentials=True)
        except OSError:
            return result  # SDKs go on without it
        result += [*_traps(credentials, ()), *_credentials(credentials, chain)]
    return result


def places(environment: Mapping[str, str], config: Config) -> dict[str, list[Selector]]:
    """Return the places in files that change the identity of each profile in some SDK."""
    return {
        name: [
            selector
            for selector in selectors({**environment, "AWS_PROFILE": name}, config)
            if selector.harmed and selector.cause == "misread"
        ]
        for name in config.profiles
    }


def _chain(config: Config, profile: Profile | None) -> tuple[Profile, ...]:
    """Return the asked profile and its source."""
    if profile is None:
        return ()
    source = config.profiles.get(profile.source)
    return (profile, source) if source and source is not profile else (profile,)


def _profile_variables(environment: Mapping[str, str], config: Config | None) -> Iterator[Selector]:
    profile, default = environment.get("AWS_PROFILE"), environment.get("AWS_DEFAULT_PROFILE")
    if profile == "":
        yield Selector(name="AWS_PROFILE, empty, beside AWS_DEFAULT_PROFILE" if default else "AWS_PROFILE, empty")
    elif profile:
        unknown = config is not None and profile not in config.profiles
        yield Selector(name="AWS_PROFILE without such a profile" if unknown else "AWS_PROFILE", where=profile)
    if default == "":
        yield Selector(
            name="AWS_DEFAULT_PROFILE, empty, beside AWS_PROFILE" if profile else "AWS_DEFAULT_PROFILE, empty"
        )
    elif default and profile and default != profile:
        yield Selector(name="AWS_DEFAULT_PROFILE beside another AWS_PROFILE", where=default)
    elif default and not profile:
        unknown = config is not None and default not in config.profiles
        name = "AWS_DEFAULT_PROFILE without such a profile" if unknown else "AWS_DEFAULT_PROFILE"
        yield Selector(name=name, where=default)


def _keys(environment: Mapping[str, str]) -> Iterator[Selector]:
    key, secret = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    if key and secret:
        yield Selector(name=f"{KEYS} beside AWS_PROFILE" if environment.get("AWS_PROFILE") else KEYS)
    elif key:
        yield Selector(name="AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY")
    elif secret or environment.get("AWS_SESSION_TOKEN"):
        yield Selector(name="AWS_SECRET_ACCESS_KEY or AWS_SESSION_TOKEN without AWS_ACCESS_KEY_ID")
    old_key, old_secret = environment.get("AWS_ACCESS_KEY"), environment.get("AWS_SECRET_KEY")
    if not (key and secret) and (key or old_key) and (secret or old_secret):
        yield Selector(name="AWS_ACCESS_KEY or AWS_SECRET_KEY")


def _web_identity(environment: Mapping[str, str], profile: Profile | None) -> Iterator[Selector]:
    role, file = environment.get("AWS_ROLE_ARN"), environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    chained = bool(profile and profile.source)
    beside = " beside a profile with source_profile" if chained else ""
    if role and file:
        missing = not chained and not os.access(file, os.R_OK)
        yield Selector(name=f"{IRSA} without the file" if missing else f"{IRSA}{beside}")
    elif role:
        yield Selector(name=f"AWS_ROLE_ARN{beside}")
    elif file and profile and file == profile.token_file:
        yield Selector(name="AWS_WEB_IDENTITY_TOKEN_FILE, the class's own")
    elif file:
        yield Selector(name=f"AWS_WEB_IDENTITY_TOKEN_FILE{beside}")
    if "" in {role, file} and not chained:
        yield Selector(name="AWS_ROLE_ARN or AWS_WEB_IDENTITY_TOKEN_FILE, empty")


def _elsewhere(environment: Mapping[str, str], config: Config | None) -> Iterator[Selector]:
    """Yield the other sources of credentials, and what leads requests to another server."""
    for names in (
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
        ("BOTO_CONFIG", "AWS_CREDENTIAL_FILE"),
    ):
        if any(environment.get(name) for name in names):
            yield Selector(name=" or ".join(names) + ("" if config else " without a config"))
    if environment.get("AWS_CONFIG_FILE") == "" and config:
        yield Selector(name="AWS_CONFIG_FILE, empty", where=str(config.file))
    endpoint, of_sts = environment.get("AWS_ENDPOINT_URL"), environment.get("AWS_ENDPOINT_URL_STS")
    if endpoint and not of_sts:
        yield Selector(name="AWS_ENDPOINT_URL without AWS_ENDPOINT_URL_STS")
    if (endpoint or of_sts) and environment.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "").lower() == "true":
        yield Selector(name="AWS_IGNORE_CONFIGURED_ENDPOINT_URLS beside an endpoint")


def _traps(aws_file: aws_files.AwsFile, chain: tuple[Profile, ...]) -> Iterator[Selector]:
    """Yield the places of a file that SDKs read differently and that concern these profiles."""
    traps = dict(aws_file.traps)
    for profile in chain:
        sections = aws_file.of_profile(profile.name)
        if sections and sections[0] is aws_file.sections[0] and "a byte order mark" in traps:
            traps["a byte order mark before the profile's section"] = traps.pop("a byte order mark")
        for section in sections:
            traps.update(section.traps)
        headers = [section.header for section in sections if "role_arn" in section.keys]
        if "a section twice" in traps and len(set(headers)) < len(headers):
            traps["a section with a role twice"] = traps.pop("a section twice")
    for name, line in traps.items():
        yield Selector(name=name, where=f"{aws_file.file}, line {line}")


def _defaults(config: aws_files.AwsFile, chain: tuple[Profile, ...]) -> Iterator[Selector]:
    """Yield the order of `[default]` and `[profile default]`, if a profile has both."""
    for section in config.of_profile("default"):
        plain = [place.line for place in config.sections if place.header == "default"]
        if section.header != "default" and plain and any(profile.name == "default" for profile in chain):
            side = "after" if section.line > plain[0] else "before"
            yield Selector(name=f"[profile default] {side} [default]", where=f"{config.file}, line {section.line}")


def _settings(environment: Mapping[str, str], config: Config, chain: tuple[Profile, ...]) -> Iterator[Selector]:
    """Yield the settings of the config by which a profile does not start from the class's role."""
    if not chain:
        return
    keys = config.content.keys(chain[0].name)
    where = f"{config.file}, profile {chain[0].name}"
    last = config.content.keys(chain[-1].name)
    sources = {"web_identity_token_file", "credential_process", "aws_access_key_id"}
    own_sources, sso = (
        {"aws_access_key_id", "credential_process"} & set(keys),
        {"sso_session", "sso_start_url"} & set(keys),
    )
    role = bool(keys.get("role_arn"))
    if "credential_source" in keys:
        yield Selector(name="credential_source", where=where)
    elif not role and sso:
        yield Selector(name="sso settings in the config", where=where)
    elif not role and own_sources:
        if not config.is_without_identity and not chain[0].session_file:
            yield Selector(name="credential_process or keys in the config", where=where)
    elif not role or not sources & set(last):
        yield Selector(name="a profile that leads to no credentials", where=where)
    if not keys.get("region") and not {"AWS_REGION", "AWS_DEFAULT_REGION"} & set(environment):
        yield Selector(name="no region", where=where)


def _credentials(credentials: aws_files.AwsFile, chain: tuple[Profile, ...]) -> Iterator[Selector]:
    """Yield the sections of the credentials file that belong to these profiles."""
    for profile in chain:
        for section in credentials.of_profile(profile.name):
            name = _kind(section, profile, is_source=profile is not chain[0])
            if name:
                yield Selector(name=name, where=f"{credentials.file}, line {section.line}")


def _kind(section: aws_files.Section, profile: Profile, *, is_source: bool) -> str:
    """Return what a section of the credentials file is for a profile; empty if it selects nothing."""
    keys = section.keys
    has_key = "aws_access_key_id" in keys
    kind = " with source_profile" if profile.source else "" if profile.role_arn else " without a role"
    cases = {
        "role_arn in the credentials file": "role_arn" in keys,
        "aws_access_key_id alone in the credentials file": has_key and "aws_secret_access_key" not in keys,
        "keys in the credentials file in capitals": has_key and "a setting in capitals" in section.traps,
        "keys in the credentials file for the source_profile": has_key and is_source,
        f"keys in the credentials file for {f'a profile{kind}' if kind else 'the profile'}": has_key,
        "credential_process in the credentials file": "credential_process" in keys,
        "sso settings in the credentials file": bool({"sso_session", "sso_start_url"} & set(keys)),
    }
    return next((name for name, applies in cases.items() if applies), "")
