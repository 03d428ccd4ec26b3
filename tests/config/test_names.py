"""Physical names: those of the table, within AWS's limits, and unique in an account."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config import names
from config.capabilities import Level
from config.checks import stack_name
from config.sections import RESERVED_NAMES, Organization
from tests.support.generated_cases import QUICK

ORGANIZATION = Organization(id="o-senncloud01", region="eu-central-1")
ACCOUNT = "222222222222"
WORDS = st.from_regex(r"[a-z][a-z0-9]{1,15}", fullmatch=True).filter(lambda word: word not in RESERVED_NAMES)
LIKELY = st.sampled_from(
    ["prod", "dev", "node", "cluster", "runner", "log", "flow", "role", "delegated", "small", "big"]
)
STACKS, CLASSES = WORDS | LIKELY, st.lists(WORDS | LIKELY, min_size=1, max_size=4, unique=True)


def names_of(stack: str) -> names.Names:
    return names.Names(organization=ORGANIZATION, stack=stack)


TABLE = [
    ("role path", "/cicd/", "/cicd-dev/"),
    ("delegated role, protected", "delegated-role", "delegated-role-dev"),
    ("delegated role, open", "delegated-role-open", "delegated-role-open-dev"),
    ("job role", "runner-small", "runner-small-dev"),
    ("manager role", "runner-manager-small", "runner-manager-small-dev"),
    ("GitLab role", "gitlab-app", "gitlab-app-dev"),
    ("cluster", "runner-platform", "runner-platform-dev"),
    ("key", "alias/cicd/cache", "alias/cicd-dev/cache"),
    (
        "cache",
        "o-senncloud01-cache-222222222222-eu-central-1",
        "o-senncloud01-cache-222222222222-eu-central-1-dev",
    ),
    ("tag", "small", "small-dev"),
    ("open repositories", "open/", "dev/open/"),
    ("protected repositories", "protected/", "dev/protected/"),
    ("runner image", "protected/runner", "dev/protected/runner"),
    ("open state", "open/", "dev/open/"),
    ("protected state", "protected/", "dev/protected/"),
    (
        "role ARN",
        "arn:aws:iam::222222222222:role/cicd/runner-small",
        "arn:aws:iam::222222222222:role/cicd-dev/runner-small-dev",
    ),
]


def table(stack_names: names.Names) -> list[str]:
    return [
        stack_names.role_path,
        stack_names.delegated_role(Level.PROTECTED),
        stack_names.delegated_role(Level.OPEN),
        stack_names.job_role("small"),
        stack_names.manager_role("small"),
        stack_names.gitlab_role("app"),
        stack_names.cluster,
        stack_names.key_alias("cache"),
        stack_names.cache_bucket(ACCOUNT),
        stack_names.tag("small"),
        stack_names.repository_prefix(Level.OPEN),
        stack_names.repository_prefix(Level.PROTECTED),
        stack_names.runner_image(),
        stack_names.state_prefix(Level.OPEN),
        stack_names.state_prefix(Level.PROTECTED),
        stack_names.role_arn(ACCOUNT, stack_names.job_role("small")),
    ]


@pytest.mark.parametrize(("stack", "column"), [("prod", 1), ("dev", 2)])
def test_names_are_those_of_the_table(stack: str, column: int) -> None:
    expected = {row[0]: row[column] for row in TABLE}
    assert dict(zip(expected, table(names_of(stack)), strict=True)) == expected, (
        "profiles, trusts and pipelines know these names"
    )


def test_names_without_a_stack_are_those_of_the_table() -> None:
    assert names.state_bucket(ORGANIZATION, ACCOUNT) == "o-senncloud01-state-222222222222-eu-central-1"
    assert names.boundary_arn("aws", ACCOUNT) == f"arn:aws:iam::{ACCOUNT}:policy/cicd-platform/delegated-boundary"
    assert (names.DEPLOYER_ROLE, names.READER_ROLE) == ("platform-deployer", "platform-reader")
    assert names.PLATFORM_ROLE_PATH == "/cicd-platform/"
    assert names.STATE_KEY_ALIAS == "alias/cicd-platform/state"
    assert (names.namespace_manager("small"), names.namespace_jobs("small")) == ("runner-small", "jobs-small")
    assert (names.MANAGER_SERVICE_ACCOUNT, names.JOB_SERVICE_ACCOUNT) == ("manager", "job")
    assert names.helm_release("small") == "gitlab-runner-small"
    assert (names.IDENTITY_VOLUME, names.IDENTITY_FOLDER) == ("runner-platform-aws", "/etc/runner-platform/aws")


def test_ambiguous_names_are_refused() -> None:
    assert {"open", "manager", "managers", "foundation", "platform"} <= RESERVED_NAMES
    assert not list(stack_name("prod")), "prod is a stack like any other"


def _iam(stack: str, classes: list[str]) -> list[str]:
    stack_names = names_of(stack)
    fixed = [
        stack_names.cluster_role(),
        stack_names.node_role(),
        stack_names.flow_log_role(),
        *(stack_names.delegated_role(level) for level in Level),
    ]
    return [
        *fixed,
        *chain(*((stack_names.job_role(c), stack_names.manager_role(c), stack_names.gitlab_role(c)) for c in classes)),
    ]


def _regional(stack: str, classes: list[str]) -> list[str]:
    stack_names = names_of(stack)
    repositories = [f"{stack_names.repository_prefix(level)}{name}" for level in Level for name in ("apps", *classes)]
    return [
        stack_names.cluster,
        stack_names.cache_bucket(ACCOUNT),
        *map(stack_names.key_alias, ("cluster", "cache")),
        *repositories,
    ]


@QUICK
@given(stacks=st.lists(STACKS, min_size=2, max_size=2, unique=True), first=CLASSES, second=CLASSES)
def test_two_stacks_never_share_a_name_in_one_account(stacks: list[str], first: list[str], second: list[str]) -> None:
    foundation = [names.DEPLOYER_ROLE, names.READER_ROLE]
    for kind, all_names in {
        "IAM": [*foundation, *_iam(stacks[0], first), *_iam(stacks[1], second)],
        "regional": [*_regional(stacks[0], first), *_regional(stacks[1], second)],
        "GitLab tag": [*map(names_of(stacks[0]).tag, first), *map(names_of(stacks[1]).tag, second)],
    }.items():
        doubles = {name for name in all_names if all_names.count(name) > 1}
        assert not doubles, f"{kind} names are unique per account, whatever their path: {doubles}"


@QUICK
@given(stacks=st.lists(STACKS, min_size=2, max_size=2, unique=True), classes=CLASSES)
def test_no_prefix_of_one_stack_lies_within_another_s(stacks: list[str], classes: list[str]) -> None:
    prefixes = [names_of(stack).state_prefix(level) for stack in stacks for level in Level]
    for prefix in prefixes:
        inside = [longer for longer in prefixes if longer != prefix and longer.startswith(prefix)]
        assert not inside, f"rights go by prefix: whoever may write {inside} would write into {prefix}"
    namespaces = [make(c) for c in classes for make in (names.namespace_manager, names.namespace_jobs)]
    assert len(set(namespaces)) == len(namespaces), "two classes in one namespace would share accounts and quota"


@QUICK
@given(stack=STACKS, runner_class=WORDS)
def test_the_longest_names_keep_to_the_limit_of_their_kind(stack: str, runner_class: str) -> None:
    stack_names = names_of(stack)
    for kind, name in [
        *(("role", role) for role in _iam(stack, [runner_class])),
        ("cluster", stack_names.cluster),
        ("alias", stack_names.key_alias("cluster")),
        ("repository", stack_names.runner_image()),
        ("release", names.helm_release(runner_class)),
        ("namespace", names.namespace_manager(runner_class)),
        ("namespace", names.namespace_jobs(runner_class)),
        ("policy", names.BOUNDARY_POLICY),
    ]:
        assert names.length_problem(kind, name) is None


@pytest.mark.parametrize("kind", sorted(names.LIMITS))
def test_a_name_may_be_as_long_as_its_limit_and_no_longer(kind: str) -> None:
    limit = names.LIMITS[kind]
    assert names.length_problem(kind, "x" * limit) is None
    text = names.length_problem(kind, "x" * (limit + 1))
    assert text is not None
    assert f"{limit + 1} characters; the limit is {limit}: shorten it" in text
