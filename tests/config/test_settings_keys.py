"""Settings, key by key: each one missing, misspelt, of the wrong type, in every stack file."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from config import foundation
from config.errors import SettingsError
from tests.support.program import ABSENT, STACKS, complaints, parsed, put, raw

FILES = (*STACKS, foundation.STACK)
DEFAULTED = frozenset({"partition", "runners", "spot", "builder", "open", "protected", "ref", "operators", "group"})
"""Keys of the stack files with a default, or required only with another key; their tests are in test_settings_contradictions."""


FITS = {
    *((key, "[]") for key in ("open", "protected", "accounts", "operators")),
    *(("cpu", "7.5"), ("builder", "None"), ("protect", "True"), ("spot", "True")),
}
"""Values that differ from the stack files and are valid too."""


def _paths(values: dict[str, Any], prefix: str = "") -> list[str]:
    paths = []
    for key, value in values.items():
        path = f"{prefix}{key}"
        paths.append(path)
        if isinstance(value, dict):
            paths += _paths(value, f"{path}.")
    return paths


def _named(path: str) -> bool:
    """Return whether the last part of a path is a name that people choose, not a key."""
    parts = path.split(".")
    return len(parts) == 2 and parts[0] in {"accounts", "runners"}


@pytest.mark.parametrize("stack", FILES)
def test_each_committed_stack_file_is_valid(stack: str) -> None:
    assert complaints(raw(stack), stack) == {}, "the files in the repository must deploy as they are"


def _optional(stack: str) -> set[str]:
    return {f"runners.{name}.accounts" for name in raw(stack).get("runners", {})}


def _required(stack: str, path: str) -> bool:
    """Return whether a key is required in the file of a stack."""
    return not (_named(path) or path == "registry" or path.rpartition(".")[2] in DEFAULTED or path in _optional(stack))


@pytest.mark.parametrize("stack", FILES)
def test_every_missing_key_is_named_with_what_to_add(stack: str) -> None:
    for path in filter(partial(_required, stack), _paths(raw(stack))):
        values = raw(stack)
        put(values, path, ABSENT)
        problems = complaints(values, stack)
        parent, _, key = path.rpartition(".")
        assert path in problems or key in problems.get(parent, ""), (
            f"{path} was removed, and the error speaks of {problems}"
        )


@pytest.mark.parametrize("stack", FILES)
def test_every_misspelt_key_is_reported_with_the_right_one(stack: str) -> None:
    for path in _paths(raw(stack)):
        if _named(path):
            continue
        values = raw(stack)
        *parents, key = path.split(".")
        at = values
        for parent in parents:
            at = at[parent]
        misspelt = f"{key}x"
        at[misspelt] = at.pop(key)
        problems, wrong = complaints(values, stack), ".".join([*parents, misspelt])
        assert wrong in problems, f"{wrong} would be ignored silently; found only {problems}"
        assert f"did you mean '{key}'?" in problems[wrong], "whoever mistyped a key wants the right one, not a list"


@pytest.mark.parametrize("value", [[], 7.5, {"surprise": 1}, None, "!"], ids=repr)
@pytest.mark.parametrize("stack", ["prod", foundation.STACK])
def test_a_value_of_the_wrong_type_is_named_at_every_key(stack: str, value: object) -> None:
    for path in _paths(raw(stack)):
        values = raw(stack)
        put(values, path, value)
        problems = complaints(values, stack)  # anything but SettingsError fails the test by itself
        assert problems or (path.rpartition(".")[2], repr(value)) in FITS, f"{value!r} at {path} must not pass"
        for where, message in problems.items():
            assert (
                where in {"platform.account", "platform.state_account"}
                or where.startswith(path)
                or path.startswith(where)
            ), f"{value!r} at {path} is reported at {where}"
            assert "valid" not in message, f"pydantic's words about Python's types are of no use: {message}"


@pytest.mark.parametrize(
    ("stack", "path", "value", "words"),
    [
        ("dev", "organization.id", "o-1", "'o-1' is not an organisation id"),
        ("dev", "organization.region", "Frankfurt", "'Frankfurt' is not a region; write one such as eu-central-1"),
        ("dev", "organization.partition", "azure", "'azure' does not fit: write one of 'aws'"),
        ("dev", "accounts.dev.id", 333333333333, "does not fit: write text, in quotes"),
        ("dev", "accounts.dev.id", "٣٣٣٣٣٣٣٣٣٣٣٣", "write twelve digits"),
        ("dev", "accounts.dev.open", "ecs", "does not fit: write a list"),
        ("dev", "accounts.dev", "333333333333", "is not an object; write {id}"),
        ("dev", "platform.protect", "yes", "does not fit: write true or false"),
        ("dev", "gitlab.url", "http://gitlab.com", "write https:// and the host name"),
        ("dev", "gitlab.url", "https://gitlab.com/", "with no slash at the end"),
        ("dev", "gitlab.runners", "both", "write one of 'managed' or 'external'"),
        ("dev", "gitlab.group", "senncloud", "is not a numeric group id"),
        ("dev", "runners.small.level", "secret", "write one of 'open' or 'protected'"),
        ("dev", "runners.small.cpu", "four", 'write cores or millicores, such as "4" or "500m"'),
        ("dev", "runners.small.cpu", "-1", "is not a CPU quantity"),
        ("dev", "runners.small.cpu", 0, "is zero CPU"),
        ("dev", "runners.small.memory", "2", "write a number with a unit, such as 512Mi or 8Gi"),
        ("dev", "runners.small.memory", 2048, "is not a quantity of bytes"),
        ("dev", "runners.small.disk", "10GB", "is not a quantity of bytes"),
        ("dev", "runners.small.concurrent", "4", "write a whole number"),
        ("dev", "runners.small.concurrent", 0, "write 1 or more"),
        ("dev", "runners.small.concurrent", 1001, "write 1000 or less"),
        ("dev", "runners.small.longest_job", 60, "write hours and minutes, such as 4h, 90m or 1h30m"),
        ("dev", "runners.small.longest_job", "0m", "is a duration of zero"),
        ("dev", "runners.small.arch", "riscv", "write one of 'amd64' or 'arm64'"),
        ("dev", "runners.small.builder", "docker", "write one of 'plain'"),
        ("dev", "runners.small.token", 0, "write 1 or more"),
        ("dev", "runners.small.token_created", "yesterday", "is not a date"),
        ("dev", "runners.small.tag", "Big One", "is not a tag of this platform"),
        ("dev", "runners.deploy.project", "senncloud/app", "is not a numeric project id"),
        ("dev", "chart.version", "0.93", "is not a chart version; write one such as 0.93.0"),
        ("dev", "chart.repository", "charts.gitlab.io", "is not a chart repository"),
        ("dev", "network.cidr", "10.41.0.1/16", "is not an IPv4 network"),
        ("dev", "network.zones", 4, "write one of 2 or 3"),
        ("dev", "network.nat", "ten", "write one of 'single', 'per-zone' or 'none'"),
        ("dev", "cluster.version", 1.35, "write text, in quotes"),
        ("dev", "cluster.version", "1.3", 'such as "1.35"'),
        ("dev", "cluster.service_cidr", "172.20.0.0", "outside /12 to /24"),
        ("dev", "cache.expire_days", -1, "write 0 or more"),
        ("dev", "registry.open", ["Apps"], "is not a repository name"),
        ("dev", "tags", {"owner": "a\nb"}, "is not a tag value"),
        (foundation.STACK, "platform.project", "senncloud/*", "without wildcards"),
        (foundation.STACK, "platform.ref", "release/*", "name exactly one, without wildcards"),
        (foundation.STACK, "platform.operators", ["arn:aws:iam::1:user/me"], "is not the ARN of an IAM role"),
        (foundation.STACK, "platform.operators", "all", "write a list"),
        (foundation.STACK, "gitlab.url", "gitlab.com", "is not the root of a GitLab instance"),
    ],
)
def test_a_wrong_value_is_shown_with_its_remedy(stack: str, path: str, value: object, words: str) -> None:
    values = raw(stack)
    put(values, path, value)
    problems = complaints(values, stack)
    assert list(problems), f"{value!r} at {path} must not pass"
    where = next(iter(problems))
    assert len(problems) == 1, f"one mistake is one problem, not {problems}"
    assert where.startswith(path), "the path says where to look"
    assert words in problems[where], "the message holds value and remedy"


def test_one_file_with_many_mistakes_lists_all_of_them() -> None:
    values = raw("dev", nonsense=1)
    for path, value in {
        "organization.region": "x",
        "accounts.dev.open": ["cdk"],
        "runners.small.memory": "2",
        "runners.small.longest_job": "soon",
        "runners.deploy.project": ABSENT,
        "network.cidr": "10.0.0.0/8",
        "cluster.administrators": ["arn:aws:iam::222222222222:role/one"],
        "cache.expire_days": "x",
        "chart.version": "0.80.0",
    }.items():
        put(values, path, value)
    expected = {
        *("nonsense", "organization.region", "accounts.dev", "runners.small.memory", "runners.small.longest_job"),
        *("runners.deploy", "cluster", "cache.expire_days", "chart"),
    }
    assert set(complaints(values)) == expected, "whoever mends a file wants to mend it once"


def test_the_error_has_the_number_of_problems() -> None:
    values = raw("dev", runners__small__memory="2")
    with pytest.raises(
        SettingsError, match=r"the file has 1 problem; nothing was touched:\n  - runners\.small\.memory: "
    ):
        parsed(values)


def test_an_empty_configuration_asks_for_every_object() -> None:
    assert set(complaints({})) == {
        *("organization", "accounts", "platform", "gitlab", "runners", "network", "cache"),
    }
    assert set(complaints({}, foundation.STACK)) == {"organization", "accounts", "gitlab", "platform"}


def test_a_wrong_account_is_reported_once() -> None:
    values = raw("dev", accounts__cicd__id="2", runners__small__accounts=["cicd"])
    assert set(complaints(values)) == {"accounts.cicd.id"}, (
        "that account is listed; complaints of those who name it would only hide the one mistake"
    )
    values = raw(foundation.STACK, accounts__cicd__id="2")
    assert set(complaints(values, foundation.STACK)) == {"accounts.cicd.id"}
