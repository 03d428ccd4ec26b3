"""Rules of identities that more than one resource makes: issuers, annotations, both sides of a trust, profiles, namespaces."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from access.resource import UNKNOWN
from policies.stack_run import StackRun
from policies.type_tokens import CLUSTER, CONFIG_MAP, POD_IDENTITY, POLICY, ROLE_POLICY, SERVICE_ACCOUNT
from tests.support.policy_cases import (
    ABSENT,
    changed,
    granting,
    new,
    one,
    program,
    says,
    surroundings,
    undecides,
    violates,
    whole,
    with_one,
    with_toml,
)

pytestmark = pytest.mark.thorough

TRUST = "assumeRolePolicy"
ANNOTATION = "eks.amazonaws.com/role-arn"
JOB, DELEGATED = "deploy-identity-job", "delegated-prod-protected-role"
OPEN_JOB = "arn:aws:iam::222222222222:role/cicd/runner-small"
PROTECTED = "arn:aws:iam::444444444444:role/cicd/delegated-role"


@pytest.mark.parametrize(
    ("name", "path", "value", "said"),
    [
        ("cluster-issuer", "url", "https://oidc.eks.eu-central-1.amazonaws.com/id/SOMEBODYELSES", "neither the issuer of this stack's cluster"),
        ("cluster-issuer", "url", "https://token.actions.example", "neither the issuer"),
        ("cluster-issuer", "clientIdLists", ["sts.amazonaws.com", "other"], "clientIdLists is not exactly"),
        ("cluster-issuer", "clientIdLists", ABSENT, "clientIdLists is not exactly"),
        (JOB, f"{TRUST}.Statement.0.Principal.Federated", "arn:aws:iam::222222222222:oidc-provider/foreign.example", "no provider of this stack"),
        (JOB, f"{TRUST}.Statement.0.Principal.Federated", "arn:aws:iam::111111111111:oidc-provider/gitlab.com", "no provider of this stack in the role's account"),
    ],
)  # fmt: skip
def test_an_issuer_that_is_not_ours_is_found(name: str, path: str, value: Any, said: str) -> None:
    violates("T06", changed(one("prod", name), path, value), said)


def test_an_issuer_that_is_not_known_is_undecided_and_in_a_first_preview_deferred() -> None:
    provider = changed(one("prod", "cluster-issuer"), "url", UNKNOWN)
    undecides("T06", provider, "url")
    preview = StackRun(settings=surroundings("prod").settings, stack="prod", project="runner-platform", dry_run=True)
    preview.memory.remember(provider)
    assert preview.may_defer(provider, "url")
    unknown = changed(one("prod", JOB), TRUST, UNKNOWN)
    assert preview.may_defer(unknown, TRUST), "it holds the issuer"
    assert not preview.may_defer(changed(one("prod", DELEGATED), TRUST, UNKNOWN), TRUST), (
        "nobody hides another document"
    )
    assert not preview.may_defer(unknown, "permissionsBoundary"), "nor another field"
    assert not surroundings("prod").may_defer(unknown, TRUST), "nothing waits outside a preview"


def test_gitlabs_provider_of_the_foundation_has_one_audience() -> None:
    violates(
        "T06",
        changed(one("foundation", "access-prod-gitlab"), "clientIdLists", ["sts.amazonaws.com"]),
        "not exactly https://gitlab.com",
        "foundation",
    )


@pytest.mark.parametrize(
    ("account", "arn", "said"),
    [
        (
            "small-runner-manager-account",
            "arn:aws:iam::222222222222:role/cicd/runner-manager-deploy",
            "this account's role is",
        ),
        ("small-runner-job-account", OPEN_JOB, "only managers' accounts have one"),
    ],
)
def test_a_service_account_that_hands_out_another_role_is_found(account: str, arn: str, said: str) -> None:
    resource = one("prod", account)
    metadata = {**resource.inputs["metadata"], "annotations": {ANNOTATION: arn}}
    violates("T08", changed(resource, "metadata", metadata), said)


def test_annotations_may_be_absent_and_must_be_known() -> None:
    account = one("prod", "small-runner-manager-account")
    assert says("T08", changed(account, "metadata.annotations", ABSENT)) == [], "then it hands out nothing"
    undecides(
        "T08", changed(account, "metadata.annotations", {ANNOTATION: UNKNOWN}), f"metadata.annotations.{ANNOTATION}"
    )


def test_an_account_of_a_foreign_namespace_and_a_pod_identity_are_found() -> None:
    account = one("prod", "small-runner-manager-account")
    foreign = new(
        account,
        "foreign",
        SERVICE_ACCOUNT,
        metadata={"name": "manager", "namespace": "default", "annotations": {ANNOTATION: PROTECTED}},
    )
    violates("T08", foreign, "only managers' accounts have one")
    violates("T08", new(account, "pod", POD_IDENTITY, roleArn=PROTECTED), "a pod identity association")


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        ("arn:aws:iam::444444444444:role/cicd/*", "a pattern"),
        ("*", "a pattern"),
        (PROTECTED, "which does not name runner-small"),
        ("arn:aws:iam::444444444444:role/OrganizationAccountAccessRole", "which is no role of this stack"),
    ],
)
@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:assume*", "STS:*"])
def test_a_permission_to_assume_that_the_other_side_does_not_share_is_found(
    action: str, resource: str, said: str
) -> None:
    violates("T11", granting("small-identity-job-delegated-roles", action, resource), said)


def test_assuming_everything_but_some_and_by_a_managed_policy_is_found() -> None:
    policy = one("prod", "small-identity-job-delegated-roles")
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "NotResource": PROTECTED}
    violates("T11", changed(policy, "policy", json.dumps({"Statement": statement})), "every role but some")
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": PROTECTED}})
    violates("T11", new(policy, "p", POLICY, name="p", policy=document), "write it into one role")


@pytest.mark.parametrize("rule", ["T11", "T12"])
def test_permissions_that_are_not_known_are_undecided_for_both_sides(rule: str) -> None:
    undecides(rule, changed(one("prod", "small-identity-manager-cache"), "policy", UNKNOWN), "policy")


def test_machinery_that_reaches_something_is_found() -> None:
    violates(
        "T12",
        granting("small-identity-manager-cache", "sts:AssumeRole", PROTECTED),
        "lets runner-manager-small assume roles",
    )
    node = one("prod", "cluster-roles-node-amazonec2containerregistrypullonly")
    other = changed(node, "policyArn", "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess")
    violates("T12", other, "nodes carry AmazonS3ReadOnlyAccess")
    violates(
        "T12",
        changed(node, "policyArn", "arn:aws:iam::222222222222:policy/AmazonEC2ContainerRegistryPullOnly"),
        "which is not listed",
    )
    assert says("T12", other, policies=["AmazonEKSWorkerNodeMinimalPolicy", "AmazonS3ReadOnlyAccess"]) == []
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": PROTECTED}})
    violates(
        "T12",
        new(node, "extra", ROLE_POLICY, role="runner-platform-node", policy=document),
        "lets runner-platform-node assume",
    )


CONFIG = "data.config"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda text: text.replace("delegated-role-open", "delegated-role"),
            "names a role that class small may not assume",
        ),
        (lambda text: text.replace("333333333333", "444444444444"), "[profile dev] names a role"),
        (lambda text: text + "\n[profile extra]\naws_access_key_id = x\n", "has aws_access_key_id"),
        (lambda text: text + "\n[profile extra]\ncredential_process = x\n", "has credential_process"),
        (lambda _: "no config", "is no AWS config file"),
        (lambda text: text + "\n[profile dev]\nrole_arn = x\n", "is no AWS config file"),
    ],
)
def test_a_profile_beyond_the_class_is_found(change: Any, said: str) -> None:
    config = one("prod", "small-runner-aws-config")
    violates("T13", changed(config, CONFIG, change(config.inputs["data"]["config"])), said)


def test_profiles_of_no_class_unknown_ones_and_absent_ones() -> None:
    config = one("prod", "small-runner-aws-config")
    violates("T13", changed(config, "metadata.namespace", "default"), "namespace of no class's jobs")
    undecides("T13", changed(config, CONFIG, UNKNOWN), CONFIG)
    assert says("T13", changed(config, CONFIG, ABSENT)) == [], "no profiles reach nothing"
    assert says("T13", new(config, "other", CONFIG_MAP, metadata={"name": "other", "namespace": "jobs-small"})) == []


def test_classes_that_share_a_namespace_are_found() -> None:
    release = with_toml(one("prod", "small-runner-release"), "kubernetes.namespace", "jobs-deploy")
    violates("R06", release, "its jobs share namespace jobs-deploy with")
    binding = one("prod", "deploy-runner-executor-binding")
    violates(
        "R06",
        changed(binding, "subjects.0.namespace", "runner-small"),
        "lets an account of runner-small act in jobs-deploy",
    )
    undecides("R06", changed(binding, "subjects", UNKNOWN), "subjects")
    undecides("R06", changed(release, "values.runners.config", UNKNOWN), "values.runners.config")


def test_rules_about_the_platform_say_nothing_of_the_foundation() -> None:
    for rule in ("T08", "T12", "R06", "I01", "I02", "E04", "E08", "R08", "S02", "P05", "P06"):
        assert whole(rule, program("foundation"), "foundation") == [], f"{rule} is about runner classes"


def test_a_cluster_whose_answer_is_unknown_has_no_known_issuer() -> None:
    cluster = replace(one("prod", "cluster-cluster", CLUSTER), outputs={})
    found = [each.text for each in whole("T06", with_one(cluster))]
    assert any("neither the issuer" in each for each in found), (
        "a literal issuer beside a cluster that has not answered is foreign"
    )
