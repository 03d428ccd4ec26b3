"""From job pods to roles: runner configurations, rights to run pods and access entries give service accounts."""

from __future__ import annotations

from typing import Any

import pytest

from access.chains import Node
from access.decision import Decision
from access.inventory import Inventory, InventoryClass
from access.resource import UNKNOWN, Resource
from config.capabilities import Level
from tests.support.access_cases import (
    CICD,
    FACTS,
    HOST,
    ORGANIZATION,
    SUBJECT,
    arn,
    document,
    exact,
    issuer,
    kubernetes,
    reached,
    resource,
    role,
    statement,
    trusts_token,
    world,
)

ALLOWED, DENIED, UNDECIDED = Decision.ALLOWED, Decision.DENIED, Decision.UNDECIDED
CLASS = InventoryClass(
    stack="dev", name="small", level=Level.OPEN, manager_namespace="runner-small", jobs_namespace="jobs-small"
)
WITH_CLASS = Inventory(organization=ORGANIZATION, accounts=FACTS.accounts, gitlab=FACTS.gitlab, classes=[CLASS])
JOBS = Node("class", "dev/small")
TOKEN = """
containers: [{name: build}]
volumes: [{name: aws, projected: {sources: [{serviceAccountToken: {audience: sts.amazonaws.com, path: token}}]}}]
"""


def rights(*statements: Any) -> list[Any]:
    return [document(*statements)]


def release(config: str, namespace: str = "runner-small", **values: Any) -> Resource:
    chart_values = {"runners": {"config": config}, "serviceAccount": {"name": "manager"}, **values}
    return resource(
        "kubernetes:helm.sh/v3:Release", f"release-{namespace}", "", "dev", namespace=namespace, values=chart_values
    )


def config(account: str = "job", settings: str = "", patch: str = TOKEN) -> str:
    return f"""
[[runners]]
[runners.kubernetes]
namespace = "jobs-small"
service_account = "{account}"
automount_service_account_token = false
{settings}
[[runners.kubernetes.pod_spec]]
patch = '''{patch}'''
"""


def account(namespace: str, name: str, role_arn: str = "") -> Resource:
    annotations = {"annotations": {"eks.amazonaws.com/role-arn": role_arn}} if role_arn else {}
    return kubernetes("ServiceAccount", name, namespace, metadata={"namespace": namespace, "name": name, **annotations})


TARGET = role("target", trusts_token(exact()))
STRONG = role("strong", trusts_token(exact("system:serviceaccount:jobs-deploy:job")))


def decision_for(*resources: Resource, start: Node = JOBS, target: str = arn("target")) -> Decision:
    return reached(world(issuer(), TARGET, STRONG, *resources, facts=WITH_CLASS), start, target)


def test_a_job_acts_as_the_service_account_whose_token_its_pod_carries() -> None:
    assert decision_for(release(config())) is ALLOWED
    assert decision_for(release(config("other"))) is DENIED
    assert decision_for(release(config(patch=""))) is DENIED, "AWS needs a projected token"
    assert decision_for(release(config(patch=TOKEN.replace("sts.amazonaws.com", "vault")))) is DENIED
    annotated = account("jobs-small", "job", arn("target"))
    assert decision_for(release(config(patch="")), annotated) is ALLOWED, "an annotation adds a token too"


def test_every_runners_section_of_a_configuration_counts() -> None:
    both = config() + config("other").replace("jobs-small", "jobs-deploy").replace('"other"', '"job"')
    assert decision_for(release(both), target=arn("strong")) is ALLOWED


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("", DENIED),
        ("^jobs-deploy$", ALLOWED),
        ("deploy", ALLOWED),
        (".*", ALLOWED),
        ("^jobs-big$", DENIED),
        ("^a$|dep", ALLOWED),
    ],
)
def test_a_namespace_overwrite_matches_any_part_of_a_name(expression: str, expected: Decision) -> None:
    settings = f'namespace_overwrite_allowed = "{expression}"'
    assert (
        decision_for(release(config(settings=settings)), account("jobs-deploy", "job"), target=arn("strong"))
        is expected
    )
    by_variable = {"envVars": [{"name": "KUBERNETES_NAMESPACE_OVERWRITE_ALLOWED", "value": expression}]}
    assert (
        decision_for(release(config(), **by_variable), account("jobs-deploy", "job"), target=arn("strong")) is expected
    )


def test_a_setting_in_another_spelling_counts_and_two_spellings_are_undecided() -> None:
    strong = account("jobs-deploy", "job")
    respelled = release(config(settings='Namespace_Overwrite_Allowed = ".*"'))
    assert decision_for(respelled, strong, target=arn("strong")) is ALLOWED
    twice = release(config(settings='namespace_overwrite_allowed = ""\nNamespace_Overwrite_Allowed = ""'))
    assert decision_for(twice, strong, target=arn("strong")) is UNDECIDED


@pytest.mark.parametrize(
    "settings",
    [
        'service_account_overwrite_allowed = "^[[:alpha:]]+$"',
        'namespace_overwrite_allowed = "{{ .Values.namespaces }}"',
        'pod_labels = {team = "{{ .Values.team }}"}',
        '[[runners.kubernetes.pod_spec]]\npatch_path = "/home/gitlab-runner/patch.yaml"',
    ],
)
def test_a_configuration_with_parts_from_elsewhere_leaves_every_trusted_account_undecided(settings: str) -> None:
    assert decision_for(release(config(settings=settings)), target=arn("strong")) is UNDECIDED
    assert decision_for(release(config(settings=settings))) is ALLOWED


def test_an_account_that_a_job_may_choose_is_undecided_if_nothing_says_that_it_exists() -> None:
    namespace = 'namespace_overwrite_allowed = "^jobs-deploy$"'
    assert decision_for(release(config(settings=namespace)), target=arn("strong")) is UNDECIDED
    assert decision_for(release(config("x", settings=namespace)), target=arn("strong")) is DENIED
    chosen = namespace + '\nservice_account_overwrite_allowed = "^job$"'
    assert decision_for(release(config("x", settings=chosen)), target=arn("strong")) is UNDECIDED


def test_a_service_account_overwrite_reaches_other_accounts_of_the_namespace() -> None:
    admin = role("admin", trusts_token(exact("system:serviceaccount:jobs-small:admin")))
    closed, opened = config(), config(settings='service_account_overwrite_allowed = "adm"')
    admin_resources = (admin, account("jobs-small", "admin"))
    assert decision_for(release(closed), *admin_resources, target=arn("admin")) is DENIED
    assert decision_for(release(opened), *admin_resources, target=arn("admin")) is ALLOWED
    patched = config(patch=TOKEN + "serviceAccountName: admin")
    assert decision_for(release(patched), *admin_resources, target=arn("admin")) is ALLOWED
    listed = '[{"op": "replace", "path": "/serviceAccountName", "value": "admin"}]'
    assert (
        decision_for(
            release(config(patch=listed)), admin, account("jobs-small", "admin", arn("admin")), target=arn("admin")
        )
        is ALLOWED
    )


@pytest.mark.parametrize(
    "broken",
    [
        "not = [toml",
        'runners = "text"',
        config(patch="a: [b"),
        config(settings='service_account_overwrite_allowed = "("'),
    ],
)
def test_an_unreadable_configuration_is_undecided(broken: str) -> None:
    assert decision_for(release(broken), account("jobs-small", "job"), account("jobs-small", "x")) in (
        UNDECIDED,
        ALLOWED,
    )
    unreadable = decision_for(
        release(broken), account("jobs-deploy", "job"), account("jobs-small", "job"), target=arn("target")
    )
    assert unreadable is (ALLOWED if "(" in broken else UNDECIDED)


def test_an_unknown_configuration_is_undecided() -> None:
    unknown = resource(
        "kubernetes:helm.sh/v3:Release", "r", "", "dev", namespace="runner-small", values={"runners": UNKNOWN}
    )
    assert decision_for(unknown, account("jobs-small", "job")) is UNDECIDED


PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (PODS, ALLOWED),
        ({**PODS, "resources": ["*"]}, ALLOWED),
        ({**PODS, "verbs": ["*"]}, ALLOWED),
        ({**PODS, "resources": ["pods/exec"]}, ALLOWED),
        ({**PODS, "resources": ["serviceaccounts/token"]}, ALLOWED),
        ({**PODS, "resources": ["jobs"], "apiGroups": ["batch"]}, ALLOWED),
        ({**PODS, "resources": ["roles"], "verbs": ["escalate"]}, ALLOWED),
        ({**PODS, "verbs": ["get", "list"]}, DENIED),
        ({**PODS, "resources": ["configmaps"]}, DENIED),
        (UNKNOWN, UNDECIDED),
    ],
)
def test_a_right_to_run_pods_gives_every_service_account_of_the_namespace(rule: Any, expected: Decision) -> None:
    bound = [
        kubernetes("Role", "makers", "jobs-small", rules=[rule]),
        kubernetes(
            "RoleBinding", "makers", "jobs-small",
            roleRef={"kind": "Role", "name": "makers"},
            subjects=[{"kind": "ServiceAccount", "name": "tool", "namespace": "tools"}],
        ),
    ]  # fmt: skip
    tool, accounts = (
        Node("sa", "dev/tools/tool"),
        [account("jobs-small", "job"), account("tools", "tool"), account("jobs-deploy", "job")],
    )
    assert decision_for(*bound, *accounts, start=tool) is expected
    assert decision_for(*bound, *accounts, start=tool, target=arn("strong")) is DENIED, "another namespace"


def test_a_cluster_role_bound_to_a_group_reaches_every_namespace() -> None:
    bound = [
        kubernetes("ClusterRole", "makers", rules=[PODS]),
        kubernetes(
            "ClusterRoleBinding", "makers",
            roleRef={"kind": "ClusterRole", "name": "makers"},
            subjects=[{"kind": "Group", "name": "system:serviceaccounts:tools"}],
        ),
    ]  # fmt: skip
    accounts = [account("jobs-deploy", "job"), account("tools", "tool")]
    assert decision_for(*bound, *accounts, start=Node("sa", "dev/tools/tool"), target=arn("strong")) is ALLOWED


def test_a_manager_that_runs_pods_of_another_class_reaches_its_role() -> None:
    def binding(namespace: str) -> list[Resource]:
        return [
            kubernetes("Role", "executor", namespace, rules=[PODS]),
            kubernetes(
                "RoleBinding", "executor", namespace,
                roleRef={"kind": "Role", "name": "executor"},
                subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
            ),
        ]  # fmt: skip

    manager, accounts = (
        Node("sa", "dev/runner-small/manager"),
        [account("jobs-small", "job"), account("jobs-deploy", "job")],
    )
    assert decision_for(*binding("jobs-small"), *accounts, release(config()), start=manager) is DENIED, (
        "the row of the class shows this access"
    )
    assert (
        decision_for(*binding("jobs-deploy"), *accounts, release(config()), start=manager, target=arn("strong"))
        is ALLOWED
    )


@pytest.mark.parametrize(
    ("policy", "scope", "expected"),
    [
        ("AmazonEKSClusterAdminPolicy", {"type": "cluster"}, ALLOWED),
        ("AmazonEKSEditPolicy", {"type": "namespace", "namespaces": ["jobs-small"]}, ALLOWED),
        ("AmazonEKSEditPolicy", {"type": "namespace", "namespaces": ["other"]}, DENIED),
        ("AmazonEKSViewPolicy", {"type": "cluster"}, DENIED),
        ("AmazonEKSNewPolicy", {"type": "cluster"}, UNDECIDED),
    ],
)
def test_an_access_entry_gives_the_service_accounts_of_its_scope(policy: str, scope: Any, expected: Decision) -> None:
    entry = resource(
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "x", CICD,
        principalArn=arn("holder"), policyArn=f"arn:aws:eks::aws:cluster-access-policy/{policy}", accessScope=scope,
    )  # fmt: skip
    assert decision_for(entry, account("jobs-small", "job"), start=Node("role", arn("holder"))) is expected


def test_a_role_that_may_write_access_entries_controls_the_cluster() -> None:
    cluster = resource("aws:eks/cluster:Cluster", "c", CICD, name="platform")
    writes = statement(Action=["eks:CreateAccessEntry", "eks:AssociateAccessPolicy"], Resource="*")
    resources = [cluster, account("jobs-small", "job")]
    assert decision_for(*resources, role("a", policies=rights(writes)), start=Node("role", arn("a"))) is ALLOWED
    create_only = statement(Action="eks:CreateAccessEntry", Resource="*")
    assert decision_for(*resources, role("a", policies=rights(create_only)), start=Node("role", arn("a"))) is DENIED


def test_a_token_of_another_cluster_is_denied() -> None:
    other_issuer = issuer("oidc.eks.eu-central-1.amazonaws.com/id/OTHER", stack="prod")
    graph = world(issuer(), other_issuer, TARGET, facts=WITH_CLASS)
    assert (
        reached(
            graph,
            graph.token("oidc.eks.eu-central-1.amazonaws.com/id/OTHER", SUBJECT, "sts.amazonaws.com"),
            arn("target"),
        )
        is DENIED
    )
    assert reached(graph, graph.token(HOST, SUBJECT, "sts.amazonaws.com"), arn("target")) is ALLOWED
