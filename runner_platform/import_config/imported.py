"""A runner's configuration, answered: the class for each `[[runners]]`, and a row for each key of the file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from config.redaction import redacted, shown
from runner_platform.import_config import machine_options
from runner_platform.import_config.answers import GLOBAL, RUNNER, Answer, Kind, find
from runner_platform.import_config.classes import ImportedClass, class_of
from runner_platform.import_config.kubernetes_answers import KUBERNETES
from runner_platform.import_config.section_answers import (
    AUTOSCALER,
    CACHE,
    DOCKER,
    EXECUTORS,
    MACHINE,
    OTHER_CLOUD,
    RARE,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from runner_platform.import_config.reading import Entry, RunnerConfig, RunnerSection

ANSWERS: Final[Mapping[str, Answer]] = {
    **GLOBAL,
    **RUNNER,
    **DOCKER,
    **CACHE,
    **MACHINE,
    **AUTOSCALER,
    **RARE,
    **KUBERNETES,
}
"""Answers by key or table, in small letters."""
LONGEST_VALUE: Final = 60
_SECRET: Final = re.compile(r"token|password|secret|key")
"""Parts of keys whose value may be a secret even if it is a number."""
SHOWN: Final = frozenset(
    f"{table}{key}"
    for table, keys in {
        "": "log_level log_format",
        "runners.": "name executor shell url limit builds_dir cache_dir prepare_timeout get_sources_timeout",
        "runners.cache.": "type path",
        "runners.cache.s3.": "serveraddress bucketname bucketlocation authenticationtype serversideencryption",
        "runners.docker.": "image helper_image memory memory_swap memory_reservation cpus cpuset_cpus runtime network_mode userns_mode user volumes "
        "pull_policy allowed_images allowed_services cap_add cap_drop security_opt devices gpus dns extra_hosts tmpfs",
        "runners.machine.": "machinedriver machinename offpeakperiods offpeaktimezone",
        "runners.machine.autoscaling.": "periods timezone",
        "runners.autoscaler.": "plugin update_interval update_interval_when_expecting instance_acquire_timeout",
        "runners.autoscaler.policy.": "periods timezone idle_time",
        "runners.kubernetes.": "image namespace service_account helper_image pull_policy cpu_limit cpu_request memory_limit memory_request "
        "ephemeral_storage_limit ephemeral_storage_request node_selector.kubernetes.io/arch node_selector.karpenter.sh/capacity-type "
        "node_selector.eks.amazonaws.com/capacitytype",
    }.items()
    for key in keys.split()
)
"""Keys whose text may be printed: it names no secret. Numbers and switches are always printed, other texts never."""
SHOWN_OPTIONS: Final = frozenset(
    f"amazonec2-{name}"
    for name in (
        *(
            "instance-type",
            "region",
            "zone",
            "root-size",
            "request-spot-instance",
            "spot-price",
            "block-duration-minutes",
            "volume-type",
        ),
        *(
            "use-private-address",
            "private-address-only",
            "monitoring",
            "use-ebs-optimized-instance",
            "ami",
            "vpc-id",
            "subnet-id",
            "security-group",
        ),
        *(
            "iam-instance-profile",
            "ssh-user",
            "use-fleet",
            "metadata-token",
            "metadata-token-response-hop-limit",
            "volume-encrypted",
        ),
    )
)


AWS_ONLY: Final[Mapping[str, str | tuple[str, ...]]] = {
    "runners.machine.machinedriver": machine_options.DRIVER,
    "runners.autoscaler.plugin": ("aws", "fleeting-plugin-aws"),
}
"""Beginnings of values that name AWS, by key."""
SAME: Final = Answer(kind=Kind.BUILT_IN, text="off, as here")
ZERO_COUNTS: Final = frozenset(
    f"runners.{key}"
    for key in (
        *("limit", "machine.maxbuilds", "autoscaler.max_use_count", "autoscaler.max_instances"),
        *("autoscaler.capacity_per_instance", "token", "url", "executor", "name"),
    )
)
"""Keys whose zero or empty value is not simply off."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A key or a table of the file, and what becomes of it."""

    key: str
    """As the file writes it."""
    value: str
    """The value, or what it is without showing it."""
    kind: Kind
    answer: str
    """What becomes of it."""


@dataclass(frozen=True, kw_only=True)
class ImportedRunner:
    """A `[[runners]]` with its class and its keys."""

    position: int
    name: str
    executor: str
    runner_class: ImportedClass | None
    reason: str
    """Why there is no class; empty if there is one."""
    rows: tuple[Row, ...]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """A whole file."""

    runners: tuple[ImportedRunner, ...]
    rows: tuple[Row, ...]
    """Keys outside of `[[runners]]`."""


def imported(config: RunnerConfig) -> Imported:
    """Answer every key of a configuration."""
    runners: list[ImportedRunner] = []
    names: list[str] = []
    becomes: dict[str, str] = {}
    for section in config.runners:
        result = class_of(section, config, names)
        if isinstance(result, ImportedClass):
            names.append(result.name)
            becomes |= result.becomes
        runners.append(_runner(section, result))
    return Imported(runners=tuple(runners), rows=tuple(_rows(config.entries, becomes)))


def _runner(section: RunnerSection, result: ImportedClass | str) -> ImportedRunner:
    runner_class, reason = (result, "") if isinstance(result, ImportedClass) else (None, result)
    becomes = {} if runner_class is None else {"runners.name": f"class {runner_class.name}", **runner_class.becomes}
    return ImportedRunner(
        position=section.position,
        name=_plain(str(shown(section.text("name")))),
        executor=_plain(str(shown(section.executor))),
        runner_class=runner_class,
        reason=reason,
        rows=tuple(_rows(section.entries, becomes, section.executor, reason)),
    )


def _rows(entries: Sequence[Entry], becomes: Mapping[str, str], executor: str = "", reason: str = "") -> Iterator[Row]:
    """Yield a row for each key, or for each table that has one answer for all of its keys."""
    grouped: dict[str, tuple[Answer, list[Entry]]] = {}
    for entry in entries:
        if entry.key.removeprefix("runners.") in machine_options.KEYS and executor in EXECUTORS["machine"]:
            yield from _option_rows(entry, becomes)
        elif entry.key in becomes:
            yield Row(key=_plain(entry.path), value=_value(entry), kind=Kind.BECOMES, answer=becomes[entry.key])
        elif entry.key == "runners.executor" and reason:
            yield Row(key=_plain(entry.path), value=_value(entry), kind=Kind.NONE, answer=reason)
        else:
            table, answer = _answer(entry, executor)
            path = entry.path if table == entry.key else ".".join(entry.path.split(".")[: table.count(".") + 1])
            grouped.setdefault(path, (answer, []))[1].append(entry)
    for path, (answer, members) in grouped.items():
        value = _value(members[0]) if path == members[0].path else _count(len(members), "key")
        yield Row(key=_plain(path), value=value, kind=answer.kind, answer=answer.text)


def _answer(entry: Entry, executor: str) -> tuple[str, Answer]:
    parts = entry.key.split(".")
    table = parts[1] if parts[0] == "runners" and parts[2:] else ""
    users = EXECUTORS.get(table, {executor})
    if executor not in users:
        owner = table if table in users else min(users)
        text = (
            f"belongs to executor {owner}; this runner is {shown(executor) or 'without executor'} and does not use it"
        )
        return f"runners.{table}", Answer(kind=Kind.UNUSED, text=text)
    if entry.key in AWS_ONLY and not str(entry.value).startswith(AWS_ONLY[entry.key]):
        return entry.key, OTHER_CLOUD
    key, answer = find(entry.key, ANSWERS)
    if answer.kind is Kind.NONE and not entry.value and entry.key not in ZERO_COUNTS:
        return entry.key, SAME
    return key, answer


def _option_rows(entry: Entry, becomes: Mapping[str, str]) -> Iterator[Row]:
    for text in entry.value if isinstance(entry.value, list) else []:
        option = machine_options.parse(str(text))
        key = f"{entry.path} {option.name or '(no option)'}"
        value = str(shown(option.value)) if option.name in SHOWN_OPTIONS else "set" if option.value else ""
        setting_text = becomes.get(f"machineoptions.{option.name}")
        answer = Answer(kind=Kind.BECOMES, text=setting_text) if setting_text else machine_options.answer(option)
        yield Row(key=_plain(key), value=_cut(value), kind=answer.kind, answer=answer.text)


def _value(entry: Entry) -> str:
    """Return a value as a row shows it: texts of `SHOWN` keys alone, since any other text may be a secret."""
    value: Any = entry.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "set" if _SECRET.search(entry.key) else str(value)
    if isinstance(value, list):
        members = [str(shown(member)) for member in value]
        return _cut(", ".join(members)) if entry.key in SHOWN else _count(len(members), "entry", "entries")
    return _cut(str(shown(value))) if entry.key in SHOWN else "set" if value else "empty"


def _plain(text: str) -> str:
    """Return a text of the file on one line, without secrets and without what a terminal would obey."""
    return redacted("".join(character if character.isprintable() else " " for character in text))


def _cut(text: str) -> str:
    line = " ".join(_plain(text).split())
    return line if len(line) <= LONGEST_VALUE else f"{line[:LONGEST_VALUE]}…"


def _count(number: int, word: str, plural: str = "") -> str:
    return f"{number} {word if number == 1 else plural or f'{word}s'}"
