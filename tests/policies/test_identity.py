"""Rules about identities across resources: issuers, annotations, both sides of a trust, profiles, namespaces."""

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
    assert_undecided,
    assert_violation,
    findings_on_stack,
    granting,
    new_resource,
    report,
    resource_named,
    resources_of,
    run_of,
    stack_with,
    with_input,
    with_toml,
)

pytestmark = pytest.mark.thorough

TRUST = "assumeRolePolicy"
ANNOTATION = "eks.amazonaws.com/role-arn"
JOB, DELEGATED = "deploy-identity-job", "delegated-prod-protected-role"
OPEN_JOB = "arn:aws:iam::222222222222:role/cicd/runner-small"
PROTECTED = "arn:aws:iam::444444444444:role/cicd/delegated-role"


@pytest.mark.parametrize(
    ("name", "path", "value", "message"),
    [
        ("cluster-issuer", "url", "https://oidc.eks.eu-central-1.amazonaws.com/id/SOMEBODYELSES", "neither the issuer of this stack's cluster"),
        ("cluster-issuer", "url", "https://token.actions.example", "neither the issuer"),
        ("cluster-issuer", "clientIdLists", ["sts.amazonaws.com", "other"], "not exactly sts.amazonaws.com"),
        ("cluster-issuer", "clientIdLists", ABSENT, "not exactly sts.amazonaws.com"),
        (JOB, f"{TRUST}.Statement.0.Principal.Federated", "arn:aws:iam::222222222222:oidc-provider/foreign.example", "which is not a provider of this stack"),
        (JOB, f"{TRUST}.Statement.0.Principal.Federated", "arn:aws:iam::111111111111:oidc-provider/gitlab.com", "which is not a provider of this stack in the role's account"),
    ],
)  # fmt: skip
def test_a_foreign_issuer_is_a_violation(name: str, path: str, value: Any, message: str) -> None:
    assert_violation("T06", with_input(resource_named("prod", name), path, value), message)


def test_an_unknown_issuer_is_undecided_and_deferred_in_a_first_preview() -> None:
    provider = with_input(resource_named("prod", "cluster-issuer"), "url", UNKNOWN)
    assert_undecided("T06", provider, "url")
    preview = StackRun(settings=run_of("prod").settings, stack="prod", project="runner-platform", dry_run=True)
    preview.resources.remember(provider)
    assert preview.may_defer(provider, "url")
    unknown = with_input(resource_named("prod", JOB), TRUST, UNKNOWN)
    assert preview.may_defer(unknown, TRUST), "this trust contains the issuer"
    assert not preview.may_defer(with_input(resource_named("prod", DELEGATED), TRUST, UNKNOWN), TRUST), (
        "a document without the issuer cannot be deferred"
    )
    assert not preview.may_defer(unknown, "permissionsBoundary"), "another field cannot be deferred"
    assert not run_of("prod").may_defer(unknown, TRUST), "only a preview may defer"


def test_the_gitlab_provider_of_the_foundation_has_one_audience() -> None:
    assert_violation(
        "T06",
        with_input(resource_named("foundation", "access-prod-gitlab"), "clientIdLists", ["sts.amazonaws.com"]),
        "not exactly https://gitlab.com",
        "foundation",
    )


@pytest.mark.parametrize(
    ("account", "arn", "message"),
    [
        (
            "small-runner-manager-account",
            "arn:aws:iam::222222222222:role/cicd/runner-manager-deploy",
            "this service account's role is",
        ),
        ("small-runner-job-account", OPEN_JOB, "this is not the service account of a manager"),
    ],
)
def test_a_service_account_with_the_role_of_another_is_a_violation(account: str, arn: str, message: str) -> None:
    resource = resource_named("prod", account)
    metadata = {**resource.inputs["metadata"], "annotations": {ANNOTATION: arn}}
    assert_violation("T08", with_input(resource, "metadata", metadata), message)


def test_an_absent_role_annotation_passes_and_an_unknown_one_is_undecided() -> None:
    account = resource_named("prod", "small-runner-manager-account")
    assert report("T08", with_input(account, "metadata.annotations", ABSENT)) == [], "this service account has no role"
    assert_undecided(
        "T08", with_input(account, "metadata.annotations", {ANNOTATION: UNKNOWN}), f"metadata.annotations.{ANNOTATION}"
    )


def test_a_service_account_elsewhere_or_a_pod_identity_is_a_violation() -> None:
    account = resource_named("prod", "small-runner-manager-account")
    foreign = new_resource(
        account,
        "foreign",
        SERVICE_ACCOUNT,
        metadata={"name": "manager", "namespace": "default", "annotations": {ANNOTATION: PROTECTED}},
    )
    assert_violation("T08", foreign, "this is not the service account of a manager")
    assert_violation("T08", new_resource(account, "pod", POD_IDENTITY, roleArn=PROTECTED), "a pod identity association")


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("arn:aws:iam::444444444444:role/cicd/*", "a pattern"),
        ("*", "a pattern"),
        (PROTECTED, "whose trust does not name runner-small"),
        ("arn:aws:iam::444444444444:role/OrganizationAccountAccessRole", "which is not a role of this stack"),
    ],
)
@pytest.mark.parametrize("action", ["sts:AssumeRole", "sts:assume*", "STS:*"])
def test_a_permission_to_assume_without_a_matching_trust_is_a_violation(
    action: str, resource: str, message: str
) -> None:
    assert_violation("T11", granting("small-identity-job-delegated-roles", action, resource), message)


def test_assuming_by_not_resource_or_by_managed_policy_is_a_violation() -> None:
    policy = resource_named("prod", "small-identity-job-delegated-roles")
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "NotResource": PROTECTED}
    assert_violation(
        "T11", with_input(policy, "policy", json.dumps({"Statement": statement})), "it assumes every other role"
    )
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": PROTECTED}})
    assert_violation(
        "T11", new_resource(policy, "p", POLICY, name="p", policy=document), "write the statement into one role"
    )


@pytest.mark.parametrize("rule", ["T11", "T12"])
def test_unknown_permissions_are_undecided_for_rules_about_assuming(rule: str) -> None:
    assert_undecided(
        rule, with_input(resource_named("prod", "small-identity-manager-cache"), "policy", UNKNOWN), "policy"
    )


def test_extra_permissions_of_manager_or_node_roles_are_violations() -> None:
    assert_violation(
        "T12",
        granting("small-identity-manager-cache", "sts:AssumeRole", PROTECTED),
        "lets runner-manager-small assume roles",
    )
    node = resource_named("prod", "cluster-roles-node-amazonec2containerregistrypullonly")
    document = json.dumps({"Statement": {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": PROTECTED}})
    assert_violation(
        "T12",
        new_resource(node, "extra", ROLE_POLICY, role="runner-platform-node", policy=document),
        "lets runner-platform-node assume",
    )


CONFIG = "data.config"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("delegated-role-open", "delegated-role"),
            "[profile dev] role_arn is arn:aws:iam::333333333333:role/cicd/delegated-role, not",
        ),
        (lambda text: text.replace("333333333333", "444444444444"), "[profile dev] role_arn is"),
        (lambda text: text.replace("[profile dev]", "[profile extra]"), "[profile dev] is missing"),
        (lambda text: text.replace("[profile dev]", "[profile extra]"), "[profile extra] is not one of its profiles"),
        (lambda text: text.replace("/etc/runner-platform", "/builds"), "web_identity_token_file differs, not /etc"),
        (lambda text: f"{text}aws_access_key_id = x\n", "[profile dev] has aws_access_key_id"),
        (lambda text: text.replace("source_profile = base\n", ""), "has no source_profile"),
        (lambda _: "no config", "is not an AWS config file"),
        (lambda text: f"{text}\n[profile dev]\nrole_arn = x\n", "is not an AWS config file (DuplicateSectionError)"),
        (lambda text: f"{text}# x\r[profile dev]\n", "a carriage return"),
    ],
)
def test_a_profile_that_the_class_may_not_use_is_a_violation(change: Any, message: str) -> None:
    config = resource_named("prod", "small-runner-aws-config")
    assert_violation("T13", with_input(config, CONFIG, change(config.inputs["data"]["config"])), message)


def test_a_finding_about_profiles_repeats_no_value_of_an_unknown_key() -> None:
    config = resource_named("prod", "small-runner-aws-config")
    text = config.inputs["data"]["config"] + "aws_secret_access_key = hunter2\n"
    assert "hunter2" not in " ".join(report("T13", with_input(config, CONFIG, text)))


def test_a_second_file_in_an_aws_config_is_a_violation() -> None:
    config = resource_named("prod", "small-runner-aws-config")
    assert_violation("T13", with_input(config, "data.credentials", "x"), "data.credentials is a further file")
    assert_violation("T13", with_input(config, "binaryData", {"config": "eA=="}), "binaryData.config is a further file")


def test_an_aws_config_outside_a_class_is_a_violation_and_an_unknown_one_undecided() -> None:
    config = resource_named("prod", "small-runner-aws-config")
    assert_violation(
        "T13",
        with_input(config, "metadata.namespace", "default"),
        "is in namespace 'default', which is not the jobs' namespace of a class",
    )
    assert_undecided("T13", with_input(config, CONFIG, UNKNOWN), CONFIG)
    assert_violation("T13", with_input(config, CONFIG, ABSENT), "[default] is missing")
    assert (
        report("T13", new_resource(config, "other", CONFIG_MAP, metadata={"name": "other", "namespace": "jobs-small"}))
        == []
    )


def test_classes_that_share_a_namespace_are_a_violation() -> None:
    release = with_toml(resource_named("prod", "small-runner-release"), "kubernetes.namespace", "jobs-deploy")
    assert_violation("R06", release, "its jobs share namespace jobs-deploy with the jobs of")
    binding = resource_named("prod", "deploy-runner-executor-binding")
    assert_violation(
        "R06",
        with_input(binding, "subjects.0.namespace", "runner-small"),
        "lets a service account of runner-small act in jobs-deploy",
    )
    assert_undecided("R06", with_input(binding, "subjects", UNKNOWN), "subjects")
    assert_undecided("R06", with_input(release, "values.runners.config", UNKNOWN), "values.runners.config")


def test_rules_about_runner_classes_report_nothing_for_the_foundation() -> None:
    for rule in ("T08", "T12", "R06", "I01", "I02", "E04", "E08", "R08", "S02", "P05", "P06"):
        assert findings_on_stack(rule, resources_of("foundation"), "foundation") == [], (
            f"{rule} is about runner classes"
        )


def test_an_issuer_url_is_foreign_until_the_cluster_reports_its_own() -> None:
    cluster = replace(resource_named("prod", "cluster-cluster", CLUSTER), outputs={})
    messages = [finding.text for finding in findings_on_stack("T06", stack_with(cluster))]
    assert any("neither the issuer" in message for message in messages), (
        "a literal issuer is foreign while the cluster has none"
    )
