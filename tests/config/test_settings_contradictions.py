"""Contradictions between keys of a stack file are reported with path, value and remedy."""

from __future__ import annotations

import pytest

from config import foundation, settings
from config.errors import SettingsError
from tests.support.program import ABSENT, complaints, put, raw

CLASS = {"level": "open", "cpu": "1", "memory": "2Gi", "disk": "10Gi", "concurrent": 2, "longest_job": "30m"}
ROLE = "arn:aws:iam::222222222222:role/"
OIDC = {"account": "dev", "level": "open", "project": "senncloud/app", "ref": "main"}

# Each row: the path that is changed and its value, further changes; where the problem is; and words of the message.
CONTRADICTIONS = [
    ("accounts.dev.id", "222222222222", {}, "accounts.dev.id", "222222222222 is also the id of 'cicd'"),
    ("accounts.Dev", {"id": "555555555555"}, {}, "accounts.Dev", "is not a name for an account"),
    ("accounts.base", {"id": "555555555555"}, {}, "accounts.base", "none of base, default"),
    ("accounts.default", {"id": "555555555555"}, {}, "accounts.default", "none of base, default"),
    ("platform.account", "tools", {}, "platform.account", "'tools' is not in accounts; name one of cicd, dev"),
    ("organization.region", "cn-north-1", {}, "organization", "in partition 'aws-cn'"),
    ("organization.partition", "aws-us-gov", {}, "organization", "make them agree"),
    ("organization.id", "o-" + "x" * 32, {}, "organization.id", "characters; the limit is 63: shorten it"),
    ("gitlab.group", ABSENT, {}, "gitlab", 'write group: "<numeric id>"'),
    ("chart.version", ABSENT, {}, "chart", "has a repository but no version; pin one"),
    ("chart.version", "0.85.9", {}, "chart", "0.85.9 is older than 0.86.0"),
    ("chart.version", "0.9.0", {}, "chart", "0.9.0 is older than 0.86.0"),
    ("chart.path", "charts/gitlab-runner.tgz", {}, "chart", "needs one source"),
    ("chart.path", "gitlab-runner.tgz", {"chart.repository": ABSENT}, "chart", "has a version beside a path"),
    ("chart.repository", ABSENT, {}, "chart", "needs one source"),
    ("accounts.dev.open", ["ecs", "cdk"], {}, "accounts.dev", "would escape the permissions boundary"),
    ("accounts.dev.protected", ["ecs"], {}, "accounts.dev", "lists 'ecs' for both levels"),
    ("accounts.dev.protected", ["s3"], {}, "accounts.dev.protected.0", "write one of 'ecs'"),
    ("runners.small.accounts", ["tools"], {}, "runners.small.accounts", "'tools' is not in accounts"),
    ("runners.deploy.accounts", ["dev"], {}, "runners.deploy.accounts", "narrows its level and never widens it"),
    ("runners.small.accounts", None, {}, "runners.small.accounts", "accounts: [] to reach none"),
    ("runners.deploy.project", ABSENT, {}, "runners.deploy", "names neither project nor group"),
    ("runners.deploy.group", "99", {}, "runners.deploy", "names project and group"),
    ("runners.small.project", "5678", {}, "runners.small.project", "belongs to a protected class"),
    ("runners.small.group", "5678", {}, "runners.small.group", "belongs to a protected class"),
    ("runners.small.longest_job", "90m", {}, "runners.small.spot", "longest_job is 90 min; lower it to 1h or less"),
    ("runners.big.longest_job", "9m", {}, "runners.big.longest_job", "write a time from 10m"),
    ("runners.big.longest_job", "25h", {}, "runners.big.longest_job", "to 24h"),
    ("runners.medium.pod_security", "restricted", {}, "runners.medium.builder", "the plain builder is root"),
    (
        "runners.small.pod_security",
        "restricted",
        {"chart.version": "0.87.1"},
        "runners.small.pod_security",
        "raise chart.version to 0.88.0",
    ),
    ("runners.small.tag", "big-dev", {}, "runners.small.tag", "'big-dev' is also the tag of 'big'"),
    ("runners.open", CLASS, {}, "runners.open", "is not a name for a class"),
    ("runners.manager", CLASS, {}, "runners.manager", "none of foundation, manager, managers"),
    ("runners.managers", CLASS, {}, "runners.managers", "is not a name for a class"),
    ("runners.Tiny", CLASS, {}, "runners.Tiny", "small letters and digits"),
    ("runners.x", CLASS, {}, "runners.x", "2 to 16"),
    ("runners.a12345678901234567", CLASS, {}, "runners.a12345678901234567", "2 to 16"),
    ("runners.two-words", CLASS, {}, "runners.two-words", "small letters and digits"),
    (
        "runners.small.limits",
        {"cpu": "4", "memory": "64Gi"},
        {},
        "runners.small.limits",
        "limits of 4 CPU and 64Gi cannot hold 4 jobs at once",
    ),
    ("runners.big.cpu", "200", {}, "runners.big", "a pod needs 200.2 CPU"),
    ("runners.big.memory", "2Ti", {}, "runners.big", "lower cpu or memory"),
    (
        "runners.small.concurrent",
        1000,
        {"network.cidr": "10.41.0.0/20"},
        "network.cidr",
        "has 124 blocks of 16 addresses in its private subnets, and all classes at full load take",
    ),
    ("network.cidr", "172.20.0.0/18", {}, "network.cidr", "overlaps cluster.service_cidr 172.20.0.0/16"),
    ("network.cidr", "10.0.0.0/15", {}, "network.cidr", "is a /15; a VPC of this platform is a /16 to a /20"),
    ("network.cidr", "10.0.0.0/21", {}, "network.cidr", "is a /21"),
    (
        "network.existing",
        {"vpc": "vpc-0a", "private": ["subnet-0a", "subnet-0b"]},
        {},
        "network",
        "and an existing one",
    ),
    ("network.nat", ABSENT, {}, "network", "is incomplete; write {cidr"),
    (
        "network",
        {"existing": {"vpc": "vpc-0a", "private": ["subnet-0a"]}},
        {},
        "network.existing.private",
        "list at least 2",
    ),
    (
        "network",
        {"zones": 3, "existing": {"vpc": "vpc-0a", "private": ["subnet-0a", "subnet-0b"]}},
        {},
        "network",
        "keep {cidr, zones, nat} or {existing}",
    ),
    ("cluster.service_cidr", "10.41.0.0/20", {}, "network.cidr", "choose networks that are apart"),
    ("cluster.service_cidr", "10.100.0.0/26", {}, "cluster.service_cidr", "which EKS demands"),
    ("cluster.administrators", [ROLE + "one"], {}, "cluster", "name at least two different roles"),
    ("cluster.administrators", [ROLE + "one", ROLE + "one"], {}, "cluster", "names 1 administrator(s)"),
    ("cluster.administrators", [], {}, "cluster", "names 0 administrator(s)"),
    ("cluster.access", {}, {}, "cluster.access", "needs one way into the cluster's API"),
    ("cluster.access", {"public_cidrs": []}, {}, "cluster.access", "needs one way into the cluster's API"),
    (
        "cluster.access.private",
        {"reached_from": "vpn"},
        {},
        "cluster.access",
        "{public_cidrs: [203.0.113.0/24]} or {private: {reached_from: vpn}}",
    ),
    ("gitlab_oidc", {"app": {**OIDC, "account": "x"}}, {}, "gitlab_oidc.app.account", "'x' is not in accounts"),
    (
        "gitlab_oidc",
        {"app": {**OIDC, "level": "protected"}},
        {},
        "gitlab_oidc.app.level",
        "has nothing for level protected",
    ),
    ("gitlab_oidc", {"app": {**OIDC, "tag": "v1"}}, {}, "gitlab_oidc.app", "names ref and tag condition"),
    ("gitlab_oidc", {"app": {**OIDC, "ref": None}}, {}, "gitlab_oidc.app", "name exactly one of ref, tag, environment"),
    ("gitlab_oidc", {"app": {**OIDC, "session": "13h"}}, {}, "gitlab_oidc.app", "outside 1h to 12h"),
    ("gitlab_oidc", {"App": OIDC}, {}, "gitlab_oidc.App", "is not a name for a role"),
    *(
        (
            "gitlab_oidc",
            {"app": {**OIDC, "level": "protected", "account": "cicd", key: value}},
            {},
            "gitlab_oidc.app",
            f"has a wildcard in {key}",
        )
        for key, value in (("project", "senncloud/*"), ("ref", "release-*"))
    ),
]


@pytest.mark.parametrize(("path", "value", "more", "where", "words"), CONTRADICTIONS)
def test_a_contradiction_names_path_value_and_remedy(
    path: str, value: object, more: dict[str, object], where: str, words: str
) -> None:
    values = raw("dev")
    for changed_path, new_value in {path: value, **more}.items():
        put(values, changed_path, new_value)
    problems = complaints(values)
    assert set(problems) == {where}, f"{path} = {value!r}: found {problems}"
    assert words in problems[where], "the message holds what is wrong and what to do"


@pytest.mark.parametrize(
    ("path", "value", "where", "words"),
    [
        ("accounts.dev.id", "222222222222", "accounts.dev.id", "is also the id of 'cicd'"),
        ("platform.account", "tools", "platform.account", "'tools' is not in accounts"),
        ("platform.state_account", "tools", "platform.state_account", "'tools' is not in accounts"),
        ("organization.id", "o-" + "x" * 32, "organization.id", "the limit is 63"),
        ("organization.region", "us-gov-west-1", "organization", "make them agree"),
    ],
)
def test_contradictions_in_the_foundation_are_refused_too(path: str, value: str, where: str, words: str) -> None:
    values = raw(foundation.STACK)
    put(values, path, value)
    problems = complaints(values, foundation.STACK)
    assert set(problems) == {where}
    assert words in problems[where]


def test_the_foundation_accepts_long_organisation_ids_since_it_has_no_cache() -> None:
    values = raw(foundation.STACK, organization__id="o-" + "x" * 24)
    assert complaints(values, foundation.STACK) == {}, "the foundation has state buckets only, and their names fit"


@pytest.mark.parametrize("stack", ["open", "protected", "manager", "managers", "platform", "Dev", "d", "a-b", "x" * 17])
def test_a_stack_with_an_ambiguous_name_is_refused(stack: str) -> None:
    assert "is not a stack of this platform" in complaints(raw("dev"), stack)["stack"], (
        "`protected/open/…` of a stack called protected would be within prod's `protected/…`"
    )


def test_no_stack_of_the_platform_is_called_foundation() -> None:
    with pytest.raises(SettingsError, match="'foundation' is not a stack of this platform"):
        settings.parse(raw("dev"), foundation.STACK, "the file")


def test_too_many_long_class_names_are_refused_before_iam_does() -> None:
    values = raw("prod")
    values["runners"] |= {f"class{number:011}": CLASS for number in range(20)}
    problems = complaints(values, "abcdefghijklmnop")
    assert "23 classes may enter" in problems["accounts.dev.open"], "`review` narrows itself and is not counted"
    assert "IAM takes 2048" in problems["accounts.dev.open"], (
        "a trust that is too long would fail half way through `up`"
    )


def test_twenty_classes_with_short_names_fit_into_one_trust() -> None:
    values = raw("prod")
    values["runners"] |= {f"class{number:02}": CLASS for number in range(17)}
    assert complaints(values, "prod") == {}, "twenty open classes are nothing unusual"


def test_unusual_settings_are_accepted() -> None:
    values = raw("dev", tags={"owner": "team@example.com"})
    for path, value in {
        "chart": {"path": "mirror/gitlab-runner-0.93.0.tgz"},
        "gitlab": {"url": "https://gitlab.example.com:8443", "runners": "external"},
        "cluster.access": {"private": {"reached_from": "vpn"}},
        "network": {"existing": {"vpc": "vpc-0a", "private": ["subnet-0a", "subnet-0b"]}},
        "cache.expire_days": 0,
        "registry": ABSENT,
        "runners.small.pod_security": "restricted",
        "runners.small.limits": {"cpu": "64", "memory": "512Gi"},
        "runners.deploy.project": ABSENT,
        "runners.deploy.group": "42",
    }.items():
        put(values, path, value)
    assert complaints(values) == {}
