"""The reasoner against the sandbox's STS: every pair of principal and role of the deployed stacks, by real calls.

The reasoner reads the documents as they are deployed. Both must give the same answer for every single step; chains are made of steps.
`DIVERGENCES` lists where they may not, each with what AWS says.
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
from access.resource import Resource
from config import load
from runner_platform_sandbox.kubernetes.client import KubeClient
from tests.support.access_trial import (
    AUDIENCE,
    OTHER_AUDIENCE,
    STRANGER,
    Place,
    Trial,
    account_tokens,
    requested,
    world_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.live import Sandbox

pytestmark = pytest.mark.sandbox

CICD, DEV = (load.of_foundation().accounts[name].id for name in ("cicd", "dev"))
ORGANIZATION = load.of_foundation().organization.id
TRIAL, CALLER = "access-trial-target", "access-trial-caller"
DIVERGENCES = {
    "IfExists": (
        "the reasoner never lets a condition of an Allow narrow that holds for an absent key; STS sees tokens with the claim only. "
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html#Conditions_IfExists"
    ),
    "ForAllValues": (
        "the same; ForAllValues is true for a key that is absent. "
        "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_condition-single-vs-multi-valued-context-keys.html"
    ),
}
"""Documents on which the two may differ, in the direction that the reasoner lets in more; with AWS's own words."""


@pytest.fixture(scope="module")
def place(sandbox: Sandbox) -> Place:
    return Place.of(sandbox)


@pytest.fixture(scope="module")
def world(sandbox: Sandbox) -> AccessGraph:
    return world_of(sandbox)


@pytest.fixture(scope="module")
def trials(place: Place, world: AccessGraph) -> Iterator[list[Trial]]:
    """Everybody: tokens of all service accounts and of projects, sessions of all roles, and somebody in each account."""
    with ExitStack() as open_until_the_end:
        tokens = [each for stack in ("dev", "prod") for each in account_tokens(place, world, stack)]
        tokens += list(projects(place, world))
        found = [*tokens, *sessions(place, world, tokens)]
        for account in [*world.facts.accounts.values(), STRANGER]:
            arn, caller = open_until_the_end.enter_context(place.somebody(account))
            found.append(Trial(name=f"somebody in {account}", node=Node("account", arn.split(":")[4]), caller=caller))
        yield found


def projects(place: Place, world: AccessGraph) -> Iterator[Trial]:
    (pipeline,) = world.facts.pipeline_subjects
    subjects = [
        pipeline,
        pipeline.replace("ref:main", "ref:other"),
        "project_path:group/other:ref_type:branch:ref:main",
    ]
    for subject in subjects:
        node = world.token(world.facts.gitlab_host, subject, world.facts.gitlab)
        yield Trial(name=subject, node=node, token=place.project(subject))


def sessions(place: Place, world: AccessGraph, tokens: list[Trial]) -> Iterator[Trial]:
    """A session of every role: by a token where one opens it, from there on by chains, else through a trust that is widened for it."""
    known: dict[str, Trial] = {}
    for trial in tokens:
        for arn, role in world.roles.items():
            if arn not in known and world.may_enter(trial.node, role) is True:
                known[arn] = Trial(name=arn, node=Node("role", arn), caller=place.entered(trial.token, arn))
    for trial in list(known.values()):
        for arn, role in world.roles.items():
            if arn not in known and world.may_enter(trial.node, role) is True:
                assert trial.caller is not None
                known[arn] = Trial(name=arn, node=Node("role", arn), caller=trial.caller.assume(arn))
    for arn in set(world.roles) - set(known):
        with place.opened(arn) as caller:
            known[arn] = Trial(name=arn, node=Node("role", arn), caller=caller)
    yield from known.values()


def test_every_pair_of_principal_and_role_is_answered_as_sts_answers(
    place: Place, world: AccessGraph, trials: list[Trial]
) -> None:
    pairs = [(trial, role) for trial in trials for role in world.roles.values()]
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda pair: pair[0].enters(pair[1].arn, place.jobs), pairs))
    said = [world.may_enter(trial.node, role) for trial, role in pairs]
    wrong = [
        f"{trial.name} to {role.arn}: STS {'lets it in' if entered else 'refuses'}, the reasoner says {decision_of(truth)}"
        for (trial, role), entered, truth in zip(pairs, seen, said, strict=True)
        if truth is not entered
    ]
    assert not wrong, "\n".join(wrong)
    assert sum(seen) > len(world.roles) / 2, "else the calls were refused for another reason"
    assert {each.node.kind for each in trials} == {"token", "role", "account"}


def test_nothing_deployed_is_undecided(world: AccessGraph) -> None:
    unread = [role.arn for role in world.roles.values() if isinstance(role.trust, Undecided)]
    assert not unread, "deployed documents hold no unknown value"


def document(*statements: dict[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]}


def token_trusts(issuer: str) -> dict[str, dict[str, Any]]:
    """The trusts in tokens of the table in which public tools were tried."""
    subject, other = "system:serviceaccount:jobs-small:job", "oidc.eks.eu-central-1.amazonaws.com/id/OTHER"
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
        "condition key of another issuer": {"StringEquals": {f"{other}:sub": subject, f"{other}:aud": AUDIENCE}},
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
def deployed_role(place: Place, account: str, trust: dict[str, Any]) -> Iterator[Resource]:
    iam = place.root(account).client("iam")
    iam.create_role(RoleName=TRIAL, AssumeRolePolicyDocument=json.dumps(trust))
    try:
        inputs = {"name": TRIAL, "assumeRolePolicy": json.dumps(trust)}
        yield Resource("urn:pulumi:dev::p::t::trial", "aws:iam/role:Role", TRIAL, account, inputs)
    finally:
        iam.delete_role(RoleName=TRIAL)


@pytest.mark.parametrize("name", NAMES)
def test_every_trust_of_the_table_is_answered_as_sts_answers(place: Place, world: AccessGraph, name: str) -> None:
    (issuer,) = world.providers.of_clusters["dev"]
    by_token = name not in ROLE_TRUSTS
    trust, account = (token_trusts(issuer)[name], CICD) if by_token else (ROLE_TRUSTS[name], DEV)
    with ExitStack() as stack:
        # The callers stand first: AWS takes no trust in a role that is not there.
        people = [stack.enter_context(place.somebody(each, CALLER)) for each in (CICD, STRANGER)]
        target = stack.enter_context(deployed_role(place, account, trust))
        of = AccessGraph.of([target, *providers(world)], world.facts)
        if by_token:
            callers = list(some_tokens(place, of, issuer))
        else:
            callers = [Trial(name=arn, node=Node("role", arn), caller=caller) for arn, caller in people]
        (role,) = of.roles.values()
        wrong = []
        for each in callers:
            entered, said = (
                each.enters(role.arn, place.jobs, ({}, {"ExternalId": "x"})),
                decision_of(of.may_enter(each.node, role)),
            )
            expected = Decision.ALLOWED if entered else Decision.DENIED
            if said is not expected and not (name in DIVERGENCES and said is Decision.ALLOWED):
                wrong.append(f"{each.name}: STS {expected}, the reasoner {said}")
    assert not wrong, f"{name}: {'; '.join(wrong)}"


def providers(world: AccessGraph) -> Iterator[Resource]:
    for (account, host), its in world.providers.by_place.items():
        inputs = {"url": f"https://{host}", "clientIdLists": list(its.clients)}
        yield Resource(
            "urn:pulumi:dev::p::t::x", "aws:iam/openIdConnectProvider:OpenIdConnectProvider", host, account, inputs
        )


def some_tokens(place: Place, world: AccessGraph, issuer: str) -> Iterator[Trial]:
    accounts = [("jobs-small", "job"), ("jobs-small", "default"), ("jobs-big", "job"), ("default", "default")]
    with KubeClient.from_kubeconfig(place.kubeconfigs["dev"]) as client:
        for namespace, account in accounts:
            for audience in (AUDIENCE, OTHER_AUDIENCE):
                node = world.token(issuer, f"system:serviceaccount:{namespace}:{account}", audience)
                token = requested(client, namespace, account, audience)
                yield Trial(name=f"{namespace}/{account} for {audience}", node=node, token=token)
