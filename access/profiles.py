"""The AWS profiles of a class: what its config file leads to, against what the settings declare.

The expectation is written a second time, and not taken from `components/documents/profiles.py`: a change there must not change it.
Source: https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html
"""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

from access.machines import machines_of
from access.resource import UNKNOWN, at
from config.names import AWS_CONFIG_MAP, IDENTITY_FOLDER, namespace_jobs
from config.runners import AutoscalerRunner, KubernetesRunner, of_kubernetes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from access.resource import Resource
    from config.settings import Settings

CONFIG_MAP = "kubernetes:core/v1:ConfigMap"

Profiles = dict[str, dict[str, str]]
"""Keys and values by section."""


class UnreadableConfigError(ValueError):
    """SDKs refuse the file, or read it in different ways."""


def expected_profiles(settings: Settings, runner_class: str) -> Profiles:
    """Return the sections of a class: its own role under two names, and a chain to it for each of its accounts."""
    names, level = settings.names, settings.runners[runner_class].level
    job_role = names.job_role(runner_class)
    common = {
        "role_session_name": job_role,
        "region": settings.organization.region,
        "sts_regional_endpoints": "regional",
    }
    if isinstance(settings.runners[runner_class], KubernetesRunner):
        own = {
            "role_arn": names.role_arn(settings.platform_account.id, job_role),
            "web_identity_token_file": f"{IDENTITY_FOLDER}/token",
            **common,
        }
    else:
        own = {"credential_process": f"cat {IDENTITY_FOLDER}/credentials.json", **common}
    sections = {"default": own, "profile base": own}
    for name, account in settings.accounts_of(runner_class).items():
        role = names.role_arn(account.id, names.delegated_role(level))
        sections[f"profile {name}"] = {"role_arn": role, "source_profile": "base", **common}
    return sections


def read_profiles(text: str) -> Profiles:
    """Return the sections of an AWS config file.

    Raises:
        UnreadableConfigError: this is no config file, or has something that not every SDK reads in the same way.
    """
    parser = configparser.ConfigParser(
        interpolation=None, default_section="no default section", delimiters=("=",), comment_prefixes=("#", ";")
    )
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # not every SDK folds the case of keys
    if any(not character.isprintable() and character != "\n" for character in text):
        raise UnreadableConfigError("has a tab, a carriage return or another character that is not printable")
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise UnreadableConfigError(f"is not an AWS config file ({type(error).__name__})") from None
    return {name: dict(parser[name]) for name in parser.sections()}


def differences(actual: Mapping[str, Mapping[str, str]], expected: Profiles) -> Iterator[str]:
    """Yield a sentence for each section and key that differs. Unexpected values may be secrets, so only those of roles are shown."""
    for section in sorted(actual.keys() - expected.keys()):
        yield f"[{section}] is not one of its profiles"
    for section, keys in expected.items():
        if section not in actual:
            yield f"[{section}] is missing"
            continue
        profile = actual[section]
        for key in sorted(profile.keys() - keys.keys()):
            yield f"[{section}] has {key}"
        for key, value in keys.items():
            if profile.get(key) != value:
                role = f" is {profile[key]}" if key == "role_arn" and key in profile else " differs"
                yield f"[{section}] {key}{role}, not {value}" if key in profile else f"[{section}] has no {key}"


def profile_problems(resources: Iterable[Resource], settings: Settings) -> list[str]:
    """Return a sentence for each profile of a stack's classes that is not as the settings declare it."""
    all_resources = list(resources)
    files = {
        at(resource.inputs, "metadata", "namespace"): at(resource.inputs, "data", "config")
        for resource in all_resources
        if resource.type == CONFIG_MAP and at(resource.inputs, "metadata", "name") == AWS_CONFIG_MAP
    }
    texts = {name: files.get(namespace_jobs(name)) for name in of_kubernetes(settings.runners)}
    hosts = {machine.name: machine for machine in machines_of(all_resources).all}
    for name in settings.machine_classes:
        host = hosts.get(job_machine(settings, name))
        texts[name] = host.aws_config if host is not None and host.undecided is None else UNKNOWN
    return [
        f"class {name}: {problem}"
        for name in settings.runners
        for problem in _problems_of(texts[name], expected_profiles(settings, name))
    ]


def job_machine(settings: Settings, runner_class: str) -> str:
    """Return the name of the launch template of the machines that run a class's jobs."""
    names, runner = settings.names, settings.runners[runner_class]
    return (
        names.worker_group(runner_class) if isinstance(runner, AutoscalerRunner) else names.manager_group(runner_class)
    )


def _problems_of(text: object, expected: Profiles) -> Iterator[str]:
    if not isinstance(text, str):
        yield f"the AWS config of its jobs is {'missing' if text is None else 'not known yet'}"
        return
    try:
        yield from (f"AWS config {problem}" for problem in differences(read_profiles(text), expected))
    except UnreadableConfigError as error:
        yield f"the AWS config of its jobs {error}"
