"""The access graph against the sandbox's STS: every pair of principal and role of the deployed stacks, with real calls.

The graph reads the deployed documents. Both must agree about every step of a chain. `DIVERGENCES` lists the permitted differences, with
AWS's documentation.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from access.chains import Node
from access.decision import Decision, Undecided, decision_of
from access.graph import AccessGraph
from access.resource import Resource, pinned_to
from config import load
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support.access_callers import (
    AUDIENCE,
    OTHER_AUDIENCE,
    STRANGER,
    Principal,
    Services,
    account_tokens,
    deployed_graph,
    request_token,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

CICD, DEV = (load.of_foundation().accounts[name].id for name in ("cicd", "dev"))
ORGANIZATION = load.of_foundation().organization.id
TRIAL, CALLER = "access-trial-target", "access-trial-caller"
DIVERGENCES = {
    "IfExists": (
        "the graph ignores a condition of an Allow that also holds for an absent key; STS only sees tokens with the claim. "
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_IfExists"
    ),
    "ForAllValues": (
        "the same; ForAllValues is true for an absent key. "
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html"
    ),
}
"""Trusts for which the graph may allow more than STS, with the reason."""


@pytest.fixture(scope="module")
def services(sandbox: Sandbox) -> Services:
    return Services.of(sandbox)


@pytest.fixture(scope="module")
def graph(sandbox: Sandbox) -> AccessGraph:
    return deployed_graph(sandbox)


@pytest.fixture(scope="module")
def principals(services: Services, graph: AccessGraph) -> Iterator[list[Principal]]:
    """All principals: tokens of service accounts and projects, sessions of roles, and a new role in each account."""
    with ExitStack() as exit_stack:
        tokens = [token for stack in ("dev", "prod") for token in account_tokens(services, graph, stack)]
        tokens += list(projects(services, graph))
        everybody = [*tokens, *sessions(services, graph, tokens)]
        for account in [*graph.inventory.accounts.values(), STRANGER]:
            arn, caller = exit_stack.enter_context(services.administrator_role(account))
            everybody.append(
                Principal(name=f"administrator of {account}", node=Node("account", arn.split(":")[4]), caller=caller)
            )
        yield everybody


def projects(services: Services, graph: AccessGraph) -> Iterator[Principal]:
    (pipeline,) = graph.inventory.pipeline_subjects
    subjects = [
        pipeline,
        pipeline.replace("ref:main", "ref:other"),
        "project_path:group/other:ref_type:branch:ref:main",
    ]
    for subject in subjects:
        node = graph.token(graph.inventory.gitlab_host, subject, graph.inventory.gitlab)
        yield Principal(name=subject, node=node, token=services.project_token(subject))


def sessions(services: Services, graph: AccessGraph, tokens: list[Principal]) -> Iterator[Principal]:
    """Yield a session of every role: by a token, or by a chain from such a session, or through a widened trust."""
    by_role: dict[str, Principal] = {}
    for principal in tokens:
        for arn, role in graph.roles.items():
            if arn not in by_role and graph.may_enter(principal.node, role) is True:
                by_role[arn] = Principal(
                    name=arn, node=Node("role", arn), caller=services.session_by_token(principal.token, arn)
                )
    for principal in list(by_role.values()):
        for arn, role in graph.roles.items():
            if arn not in by_role and graph.may_enter(principal.node, role) is True:
                assert principal.caller is not None
                by_role[arn] = Principal(name=arn, node=Node("role", arn), caller=principal.caller.assume(arn))
    for arn in set(graph.roles) - set(by_role):
        with services.session_of(arn) as caller:
            by_role[arn] = Principal(name=arn, node=Node("role", arn), caller=caller)
    yield from by_role.values()


def test_graph_and_sts_agree_about_every_pair_of_principal_and_role(
    services: Services, graph: AccessGraph, principals: list[Principal]
) -> None:
    pairs = [(principal, role) for principal in principals for role in graph.roles.values()]
    with ThreadPoolExecutor(4) as pool:
        by_sts = list(pool.map(lambda pair: pair[0].can_assume(pair[1].arn, services.jobs), pairs))
    by_graph = [graph.may_enter(principal.node, role) for principal, role in pairs]
    wrong = [
        f"{principal.name} to {role.arn}: STS {'accepts' if accepted else 'refuses'}, the graph says {decision_of(truth)}"
        for (principal, role), accepted, truth in zip(pairs, by_sts, by_graph, strict=True)
        if truth is not accepted
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(by_sts) > len(graph.roles) / 2, "otherwise the calls were refused for another reason"
    assert {principal.node.kind for principal in principals} == {"token", "role", "account"}


def test_no_deployed_trust_is_undecided(graph: AccessGraph) -> None:
    undecided = [role.arn for role in graph.roles.values() if isinstance(role.trust, Undecided)]
    assert not undecided, "deployed documents hold no unknown value"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement} for statement in statements]}


def token_trusts(issuer: str) -> dict[str, dict[str, Any]]:
    """Return the trusts in tokens of the table with which public tools were compared."""
    subject, other_issuer = "system:serviceaccount:jobs-small:job", "oidc.eks.eu-central-1.amazonaws.com/id/OTHER"
    sub, aud = f"{issuer}:sub", {f"{issuer}:aud": AUDIENCE}
    conditions: dict[str, Any] = {
        "exact": {"StringEquals": {sub: subject, **aud}},
        "no condition": None,
        "aud only": {"StringEquals": aud},
        "sub StringLike *": {"StringEquals": aud, "StringLike": {sub: "*"}},
        "wildcard namespace": {"StringEquals": aud, "StringLike": {sub: "system:serviceaccount:*:job"}},
        "wildcard service account": {"StringEquals": aud, "StringLike": {sub: "system:serviceaccount:jobs-small:*"}},
        "sub only": {"StringEquals": {sub: subject}},
        "IfExists": {"StringEqualsIfExists": {sub: subject, **aud}},
        "ForAllValues": {"ForAllValues:StringEquals": {sub: subject, **aud}},
        "sub StringNotEquals": {"StringNotEquals": {sub: "system:serviceaccount:jobs-big:job"}},
        "condition key of another issuer": {
            "StringEquals": {f"{other_issuer}:sub": subject, f"{other_issuer}:aud": AUDIENCE}
        },
    }
    principal = {"Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/{issuer}"}}
    action = {"Action": "sts:AssumeRoleWithWebIdentity"}
    return {
        name: document({**principal, **action, **({} if condition is None else {"Condition": condition})})
        for name, condition in conditions.items()
    }


ROLE_TRUSTS = {
    "AWS *": document({"Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}),
    "AWS * with PrincipalOrgID": document(
        {
            "Principal": "*",
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"aws:PrincipalOrgID": ORGANIZATION}},
        }
    ),
    "other account's root": document(
        {"Principal": {"AWS": f"arn:aws:iam::{STRANGER}:root"}, "Action": "sts:AssumeRole"}
    ),
    "other account's root with ExternalId": document(
        {
            "Principal": {"AWS": f"arn:aws:iam::{STRANGER}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": "x"}},
        }
    ),
    "action sts:*": document({"Principal": {"AWS": f"arn:aws:iam::{CICD}:role/{CALLER}"}, "Action": "sts:*"}),
    "exact role across accounts": document(
        {"Principal": {"AWS": f"arn:aws:iam::{CICD}:role/{CALLER}"}, "Action": "sts:AssumeRole"}
    ),
    "root and PrincipalArn": document(
        {
            "Principal": {"AWS": f"arn:aws:iam::{CICD}:root"},
            "Action": "sts:AssumeRole",
            "Condition": {"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{CICD}:role/{CALLER}"}},
        }
    ),
}
NAMES = (*token_trusts("x"), *ROLE_TRUSTS)


@contextmanager
def deployed_role(services: Services, account: str, trust: dict[str, Any]) -> Iterator[Resource]:
    iam = services.root(account).client("iam")
    iam.create_role(RoleName=TRIAL, AssumeRolePolicyDocument=json.dumps(trust))
    try:
        inputs = {"name": TRIAL, "assumeRolePolicy": json.dumps(trust)}
        yield Resource(
            urn="urn:pulumi:dev::p::t::trial",
            type="aws:iam/role:Role",
            name=TRIAL,
            inputs=inputs,
            provider_inputs=pinned_to(account),
        )
    finally:
        iam.delete_role(RoleName=TRIAL)


@pytest.mark.parametrize("name", NAMES)
def test_graph_and_sts_agree_about_every_trust_of_the_table(services: Services, graph: AccessGraph, name: str) -> None:
    (issuer,) = graph.providers.of_clusters["dev"]
    by_token = name not in ROLE_TRUSTS
    trust, account = (token_trusts(issuer)[name], CICD) if by_token else (ROLE_TRUSTS[name], DEV)
    with ExitStack() as stack:
        # The callers are created first: AWS rejects a trust in a missing role.
        roles = [stack.enter_context(services.administrator_role(owner, CALLER)) for owner in (CICD, STRANGER)]
        target = stack.enter_context(deployed_role(services, account, trust))
        target_graph = AccessGraph.of([target, *providers(graph)], graph.inventory)
        if by_token:
            callers = list(some_tokens(services, target_graph, issuer))
        else:
            callers = [Principal(name=arn, node=Node("role", arn), caller=caller) for arn, caller in roles]
        (role,) = target_graph.roles.values()
        wrong = []
        for principal in callers:
            accepted = principal.can_assume(role.arn, services.jobs, ({}, {"ExternalId": "x"}))
            decision = decision_of(target_graph.may_enter(principal.node, role))
            expected = Decision.ALLOWED if accepted else Decision.DENIED
            if decision is not expected and not (name in DIVERGENCES and decision is Decision.ALLOWED):
                wrong.append(f"{principal.name}: STS {expected}, the graph {decision}")
    assert not wrong, f"{name}: {'; '.join(wrong)}"


def providers(graph: AccessGraph) -> Iterator[Resource]:
    for (account, host), provider in graph.providers.by_place.items():
        inputs = {"url": f"https://{host}", "clientIdLists": list(provider.clients)}
        yield Resource(
            urn="urn:pulumi:dev::p::t::x",
            type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
            name=host,
            inputs=inputs,
            provider_inputs=pinned_to(account),
        )


def some_tokens(services: Services, graph: AccessGraph, issuer: str) -> Iterator[Principal]:
    accounts = [("jobs-small", "job"), ("jobs-small", "default"), ("jobs-big", "job"), ("default", "default")]
    with KubeClient.from_kubeconfig(services.kubeconfigs["dev"]) as client:
        for namespace, account in accounts:
            for audience in (AUDIENCE, OTHER_AUDIENCE):
                node = graph.token(issuer, f"system:serviceaccount:{namespace}:{account}", audience)
                token = request_token(client, namespace, account, audience)
                yield Principal(name=f"{namespace}/{account} for {audience}", node=node, token=token)
