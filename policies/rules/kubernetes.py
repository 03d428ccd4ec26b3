"""Rules of rights inside the cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents.namespaces import EXECUTOR_RULES
from policies.rule import resource_rule
from policies.type_tokens import BINDINGS, KUBERNETES_ROLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.rule import CheckedResource

ADMINS = ("cluster-admin", "admin", "edit")


@resource_rule(
    "E09",
    "kubernetes-role-grants-the-executors-table",
    [*KUBERNETES_ROLES, *BINDINGS],
    demands="rights are those that the runner's executor needs, in one namespace, for a named account",
    stops="A20: a stolen manager's token reads every secret, mints tokens, or rules the cluster",
    remedy="Take rules from components/documents/namespaces.py; bind them with a RoleBinding.",
    source="https://docs.gitlab.com/runner/executors/kubernetes/#configure-runner-api-permissions; CIS EKS 4.1.1 to 4.1.12",
    severity=Severity.CRITICAL,
)
def rights_are_few(case: CheckedResource) -> Iterator[str]:
    """Rules within the executor's table; bindings of named accounts to roles of the namespace."""
    if case.type in BINDINGS:
        yield from _binding(case)
        return
    if case.type.endswith(":ClusterRole"):
        yield "a ClusterRole grants rights everywhere"
    table = {(group, resource, verb) for rule in EXECUTOR_RULES for group, resource, verb in _triples(rule)}
    for rule in case["rules"].items():
        given = rule.get({})
        if given is None:
            continue
        if extra := sorted(set(_triples(given)) - table):
            group, resource, verb = extra[0]
            yield f"{rule.path} grants {verb} on {f'{group}/' if group else ''}{resource}, which the executor does not need"


def _triples(rule: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    # Absent groups are the core group, absent resources and verbs all of them, as the API server has it for what it takes.
    return [
        (group, resource, verb)
        for group in rule.get("apiGroups") or [""]
        for resource in rule.get("resources") or ["*"]
        for verb in rule.get("verbs") or ["*"]
    ]


def _binding(binding: CheckedResource) -> Iterator[str]:
    if binding.type.endswith(":ClusterRoleBinding"):
        yield "a ClusterRoleBinding grants rights everywhere"
    role = binding["roleRef"]
    if role["name"].text() in ADMINS or role["kind"].text() == "ClusterRole":
        yield "roleRef is a role of the cluster, not one of the namespace"
    for subject in binding["subjects"].items():
        if subject["kind"].text() not in {"ServiceAccount", None}:
            yield f"{subject.path} is no service account"
        elif subject["name"].text() == "default":
            yield f"{subject.path} is the account of every pod that names none"
