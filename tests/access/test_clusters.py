"""From pods to roles: what a class's configuration lets its jobs be, and who may run pods as whom."""

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
    its = {"runners": {"config": config}, "serviceAccount": {"name": "manager"}, **values}
    return resource("kubernetes:helm.sh/v3:Release", f"release-{namespace}", "", "dev", namespace=namespace, values=its)


def config(account: str = "job", more: str = "", patch: str = TOKEN) -> str:
    return f"""
[[runners]]
[runners.kubernetes]
namespace = "jobs-small"
service_account = "{account}"
automount_service_account_token = false
{more}
[[runners.kubernetes.pod_spec]]
patch = '''{patch}'''
"""


def account(namespace: str, name: str, role_arn: str = "") -> Resource:
    annotations = {"annotations": {"eks.amazonaws.com/role-arn": role_arn}} if role_arn else {}
    return kubernetes("ServiceAccount", name, namespace, metadata={"namespace": namespace, "name": name, **annotations})


TARGET = role("target", trusts_token(exact()))
STRONG = role("strong", trusts_token(exact("system:serviceaccount:jobs-deploy:job")))


def of_class(*resources: Resource, start: Node = JOBS, target: str = arn("target")) -> Decision:
    return reached(world(issuer(), TARGET, STRONG, *resources, facts=WITH_CLASS), start, target)


def test_a_job_is_the_service_account_of_its_class_with_the_token_that_its_pod_carries() -> None:
    assert of_class(release(config())) is ALLOWED
    assert of_class(release(config("other"))) is DENIED
    assert of_class(release(config(patch=""))) is DENIED, "without a projected token there is none to show to AWS"
    assert of_class(release(config(patch=TOKEN.replace("sts.amazonaws.com", "vault")))) is DENIED
    annotated = account("jobs-small", "job", arn("target"))
    assert of_class(release(config(patch="")), annotated) is ALLOWED, "an annotation brings a token too"


def test_every_section_of_a_configuration_counts() -> None:
    both = config() + config("other").replace("jobs-small", "jobs-deploy").replace('"other"', '"job"')
    assert of_class(release(both), target=arn("strong")) is ALLOWED


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("", DENIED),
        ("^jobs-deploy$", ALLOWED),
        ("deploy", ALLOWED),
        (".*", ALLOWED),
        ("^jobs-big$", DENIED),
        ("^a$|dep", ALLOWED),
    ],
)
def test_an_overwrite_of_the_namespace_is_found_anywhere_in_a_name(expression: str, found: Decision) -> None:
    more = f'namespace_overwrite_allowed = "{expression}"'
    assert of_class(release(config(more=more)), account("jobs-deploy", "job"), target=arn("strong")) is found
    by_variable = {"envVars": [{"name": "KUBERNETES_NAMESPACE_OVERWRITE_ALLOWED", "value": expression}]}
    assert of_class(release(config(), **by_variable), account("jobs-deploy", "job"), target=arn("strong")) is found


def test_an_overwrite_of_the_service_account_reaches_the_others_of_the_namespace() -> None:
    admin = role("admin", trusts_token(exact("system:serviceaccount:jobs-small:admin")))
    closed, opened = config(), config(more='service_account_overwrite_allowed = "adm"')
    others = (admin, account("jobs-small", "admin"))
    assert of_class(release(closed), *others, target=arn("admin")) is DENIED
    assert of_class(release(opened), *others, target=arn("admin")) is ALLOWED
    patched = config(patch=TOKEN + "serviceAccountName: admin")
    assert of_class(release(patched), *others, target=arn("admin")) is ALLOWED
    listed = '[{"op": "replace", "path": "/serviceAccountName", "value": "admin"}]'
    assert (
        of_class(
            release(config(patch=listed)), admin, account("jobs-small", "admin", arn("admin")), target=arn("admin")
        )
        is ALLOWED
    )


@pytest.mark.parametrize(
    "broken",
    ["not = [toml", 'runners = "text"', config(patch="a: [b"), config(more='service_account_overwrite_allowed = "("')],
)
def test_a_configuration_that_cannot_be_read_is_undecided(broken: str) -> None:
    assert of_class(release(broken), account("jobs-small", "job"), account("jobs-small", "x")) in (UNDECIDED, ALLOWED)
    unreadable = of_class(
        release(broken), account("jobs-deploy", "job"), account("jobs-small", "job"), target=arn("target")
    )
    assert unreadable is (ALLOWED if "(" in broken else UNDECIDED)


def test_an_unknown_configuration_is_undecided() -> None:
    unknown = resource(
        "kubernetes:helm.sh/v3:Release", "r", "", "dev", namespace="runner-small", values={"runners": UNKNOWN}
    )
    assert of_class(unknown, account("jobs-small", "job")) is UNDECIDED


PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["create"]}


@pytest.mark.parametrize(
    ("rule", "found"),
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
def test_the_right_to_run_pods_is_the_right_to_use_every_account_of_the_namespace(rule: Any, found: Decision) -> None:
    bound = [
        kubernetes("Role", "makers", "jobs-small", rules=[rule]),
        kubernetes(
            "RoleBinding", "makers", "jobs-small",
            roleRef={"kind": "Role", "name": "makers"},
            subjects=[{"kind": "ServiceAccount", "name": "tool", "namespace": "tools"}],
        ),
    ]  # fmt: skip
    tool, its = (
        Node("sa", "dev/tools/tool"),
        [account("jobs-small", "job"), account("tools", "tool"), account("jobs-deploy", "job")],
    )
    assert of_class(*bound, *its, start=tool) is found
    assert of_class(*bound, *its, start=tool, target=arn("strong")) is DENIED, "another namespace"


def test_a_cluster_wide_right_reaches_every_namespace_and_groups_count() -> None:
    bound = [
        kubernetes("ClusterRole", "makers", rules=[PODS]),
        kubernetes(
            "ClusterRoleBinding", "makers",
            roleRef={"kind": "ClusterRole", "name": "makers"},
            subjects=[{"kind": "Group", "name": "system:serviceaccounts:tools"}],
        ),
    ]  # fmt: skip
    its = [account("jobs-deploy", "job"), account("tools", "tool")]
    assert of_class(*bound, *its, start=Node("sa", "dev/tools/tool"), target=arn("strong")) is ALLOWED


def test_a_manager_starts_its_own_classes_pods_and_no_others() -> None:
    def binding(namespace: str) -> list[Resource]:
        return [
            kubernetes("Role", "executor", namespace, rules=[PODS]),
            kubernetes(
                "RoleBinding", "executor", namespace,
                roleRef={"kind": "Role", "name": "executor"},
                subjects=[{"kind": "ServiceAccount", "name": "manager", "namespace": "runner-small"}],
            ),
        ]  # fmt: skip

    manager, its = Node("sa", "dev/runner-small/manager"), [account("jobs-small", "job"), account("jobs-deploy", "job")]
    assert of_class(*binding("jobs-small"), *its, release(config()), start=manager) is DENIED, (
        "that is the class's own row"
    )
    assert of_class(*binding("jobs-deploy"), *its, release(config()), start=manager, target=arn("strong")) is ALLOWED


@pytest.mark.parametrize(
    ("policy", "scope", "found"),
    [
        ("AmazonEKSClusterAdminPolicy", {"type": "cluster"}, ALLOWED),
        ("AmazonEKSEditPolicy", {"type": "namespace", "namespaces": ["jobs-small"]}, ALLOWED),
        ("AmazonEKSEditPolicy", {"type": "namespace", "namespaces": ["other"]}, DENIED),
        ("AmazonEKSViewPolicy", {"type": "cluster"}, DENIED),
        ("AmazonEKSNewPolicy", {"type": "cluster"}, UNDECIDED),
    ],
)
def test_an_access_entry_holds_the_service_accounts_of_its_scope(policy: str, scope: Any, found: Decision) -> None:
    entry = resource(
        "aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "x", CICD,
        principalArn=arn("holder"), policyArn=f"arn:aws:eks::aws:cluster-access-policy/{policy}", accessScope=scope,
    )  # fmt: skip
    assert of_class(entry, account("jobs-small", "job"), start=Node("role", arn("holder"))) is found


def test_whoever_may_write_access_entries_holds_the_cluster() -> None:
    cluster = resource("aws:eks/cluster:Cluster", "c", CICD, name="platform")
    writes = statement(Action=["eks:CreateAccessEntry", "eks:AssociateAccessPolicy"], Resource="*")
    its = [cluster, account("jobs-small", "job")]
    assert of_class(*its, role("a", policies=rights(writes)), start=Node("role", arn("a"))) is ALLOWED
    half = statement(Action="eks:CreateAccessEntry", Resource="*")
    assert of_class(*its, role("a", policies=rights(half)), start=Node("role", arn("a"))) is DENIED


def test_two_clusters_do_not_share_tokens() -> None:
    other = issuer("oidc.eks.eu-central-1.amazonaws.com/id/OTHER", stack="prod")
    of = world(issuer(), other, TARGET, facts=WITH_CLASS)
    assert (
        reached(
            of, of.token("oidc.eks.eu-central-1.amazonaws.com/id/OTHER", SUBJECT, "sts.amazonaws.com"), arn("target")
        )
        is DENIED
    )
    assert reached(of, of.token(HOST, SUBJECT, "sts.amazonaws.com"), arn("target")) is ALLOWED
