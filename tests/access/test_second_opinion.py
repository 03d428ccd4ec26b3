"""The reasoner and the second opinion decide the same requests of random worlds.

Each question of the oracle becomes one request of `access.evaluation`, with every condition key fixed. Where AWS's documentation
decides nothing, the oracle answers OUTSIDE, and any answer is right.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from access.callers import Caller, RoleTags, aws_service, role_session, token_bearer
from access.chains import Node
from access.decision import Decision, Truth, decision_of
from access.evaluation import Permissions, TargetRole, is_allowed, may_assume
from access.graph import AccessGraph
from access.inventory import Inventory
from access.policy_documents import normalise
from access.roles import without_open_conditions
from tests.access.oracle.evaluator import answer
from tests.access.oracle.requests import PODS, passed_on, pod_tags, principal_tags
from tests.access.oracle.world import Act, AssumeRole, AssumeRoleForPod, AssumeRoleWithToken, Question, Session, World
from tests.access.oracle.worlds import random_world
from tests.support.access_cases import issuer, resource
from tests.support.access_cases import role as iam_role

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from access.conditions import Values

OPEN = ("IfExists", "ForAllValues")
"""In a trust, `access` counts these conditions as open: declared caution."""


def one(value: str | None) -> Values:
    return None if value is None else (value,)


def tags_as(prefix: str, tags: Mapping[str, str]) -> dict[str, Values]:
    return {f"{prefix}/{key}".lower(): (value,) for key, value in tags.items()}


def asked(world: World, name: str, tags: Mapping[str, str], transitive: Any = (), external: Any = None) -> Any:
    """Return the condition keys of a request for a session."""
    return {
        **surroundings(world),
        **tags_as("aws:RequestTag", tags),
        "aws:tagkeys": tuple(sorted(tags)) or None,
        "sts:transitivetagkeys": tuple(sorted(transitive)) or None,
        "sts:rolesessionname": (name,),
        "sts:externalid": one(external),
    }


def surroundings(world: World) -> dict[str, Values]:
    return {
        "aws:currenttime": (world.now,),
        "aws:epochtime": (str(int(datetime.fromisoformat(world.now).timestamp())),),
        "aws:sourceip": (world.source_ip,),
    }


ABSENT: Mapping[str, Values] = dict.fromkeys(
    ("aws:principaltag/*", "aws:requesttag/*", "aws:resourcetag/*", "iam:resourcetag/*")
)


def session_caller(world: World, session: Session, keys: Mapping[str, Values]) -> Caller:
    role = world.roles[session.role]
    plain = role_session(role.arn, world.organizations[role.account], RoleTags(), tagged=False)
    return Caller(
        account=role.account,
        arn=role.arn,
        session=session.name,
        keys={
            **plain.keys,
            **tags_as("aws:PrincipalTag", principal_tags(role, session)),
            "aws:multifactorauthpresent": ("false",),
            "aws:userid": (f"{role.role_id}:{session.name}",),
            **keys,
        },
        patterns=ABSENT,
    )


def permissions(world: World, session: Session) -> Permissions:
    role = world.roles[session.role]
    limits = [[normalise(document)] for document in (role.boundary, session.policy) if document is not None]
    return Permissions(policies=[normalise(document) for document in role.policies], limits=limits)


def target(world: World, arn: str, inherited: Mapping[str, str], provider: str = "") -> TargetRole:
    role = world.roles[arn]
    replaced = {key.lower(): value for key, value in inherited.items()}
    tags = {key: replaced.get(key.lower(), value) for key, value in role.tags.items()}
    return TargetRole(
        arn=arn,
        account=role.account,
        trust=without_open_conditions(normalise(role.trust)),
        provider=provider,
        keys={
            "aws:resourceaccount": (role.account,),
            "aws:resourceorgid": one(world.organizations[role.account]),
            **tags_as("aws:ResourceTag", tags),
            **tags_as("iam:ResourceTag", tags),
        },
    )


def decided(world: World, question: Question) -> Truth:
    match question:
        case AssumeRole():
            keys = asked(world, question.session_name, question.tags, question.transitive, question.external_id)
            inherited = passed_on(question.session)
            caller = session_caller(world, question.session, keys)
            return may_assume(caller, permissions(world, question.session), target(world, question.role, inherited))
        case AssumeRoleWithToken():
            provider = next((p for p in world.providers if p.account == world.roles[question.role].account), None)
            if provider is None or question.audience not in provider.audiences:
                return False
            token = token_bearer(question.issuer, question.subject, question.audience)
            keys = {
                **token.keys,
                "aws:multifactorauthpresent": None,
                **asked(world, question.session_name, question.tags, question.transitive),
            }
            caller = Caller(issuer=question.issuer, keys=keys, patterns=token.patterns)
            return may_assume(caller, Permissions(), target(world, question.role, {}, provider.arn))
        case AssumeRoleForPod():
            tags = pod_tags(question)
            keys = {**asked(world, "", tags, tags), "sts:rolesessionname": None, "aws:multifactorauthpresent": None}
            service = aws_service(PODS, keys)
            caller = Caller(service=PODS, keys=service.keys, patterns=ABSENT)
            return may_assume(caller, Permissions(), target(world, question.role, {}))
        case Act():
            resource = world.resources.get(question.resource) or world.resources[question.resource.partition("/")[0]]
            caller = session_caller(world, question.session, {**surroundings(world), "aws:tagkeys": None})
            tags = resource.tags if question.resource == resource.arn else {}
            keys = {
                "aws:resourceaccount": (resource.account,),
                "aws:resourceorgid": one(world.organizations[resource.account]),
                **tags_as("aws:ResourceTag", tags),
                "sts:externalid": None,
                "sts:rolesessionname": None,
            }
            return is_allowed(caller, permissions(world, question.session), question.action, question.resource, keys)


def judged_here(world: World, question: Question) -> bool:
    """Whether `access.evaluation` judges a question: it reads no policy of a resource, and no tags that a session inherits."""
    if isinstance(question, AssumeRole):
        # STS refuses a tag that the session inherits before it looks at a policy.
        inherited = {key.lower() for key in passed_on(question.session)}
        return not inherited & {key.lower() for key in question.tags}
    if not isinstance(question, Act):
        return True
    resource = world.resources.get(question.resource) or world.resources[question.resource.partition("/")[0]]
    return resource.policy is None and world.roles[question.session.role].account == resource.account


def cautious(world: World, question: Question) -> bool:
    """Whether the trust in question has a condition that `access` counts as open."""
    return not isinstance(question, Act) and any(word in str(world.roles[question.role].trust) for word in OPEN)


def differences(seeds: range) -> Iterator[tuple[str, int, Question, str, Truth]]:
    for seed in seeds:
        world, questions = random_world(seed)
        for question in questions:
            if not judged_here(world, question):
                continue
            opinion, truth = answer(world, question), decided(world, question)
            decision = decision_of(truth)
            if opinion.verdict == decision.value:
                yield "same", seed, question, "", truth
            elif opinion.verdict == "OUTSIDE":
                yield "outside", seed, question, "", truth
            elif decision is Decision.ALLOWED and cautious(world, question):
                yield "open by caution", seed, question, opinion.reason, truth
            else:
                yield f"access {decision}, oracle {opinion.verdict}", seed, question, opinion.reason, truth


def counts(seeds: range) -> Counter[str]:
    return Counter(kind for kind, *_ in differences(seeds))


WIDE = "access ALLOWED, oracle DENIED"
DECIDED_OTHERWISE = {"access DENIED, oracle ALLOWED", WIDE}


def test_no_answer_of_the_reasoner_hides_or_invents_access_in_a_few_worlds() -> None:
    kinds = counts(range(20))
    assert not DECIDED_OTHERWISE & set(kinds)
    assert kinds["same"] > 250


@pytest.mark.thorough
def test_no_answer_of_the_reasoner_hides_or_invents_access_in_two_thousand_worlds() -> None:
    kinds = counts(range(20, 2020))
    assert not DECIDED_OTHERWISE & set(kinds)
    assert kinds["same"] > 28_500
    assert sum(number for kind, number in kinds.items() if "UNDECIDED" in kind) < 450


def graph_of(world: World) -> AccessGraph:
    """Return the access graph of a world's roles and providers; resources' policies are not part of it."""
    resources = []
    for role in world.roles.values():
        inputs: dict[str, Any] = {"path": role.path, "tags": role.tags}
        if role.boundary is not None:
            policy = f"bound-{role.name}"
            inputs["permissionsBoundary"] = f"arn:aws:iam::{role.account}:policy/{policy}"
            token = "aws:iam/policy:Policy"
            resources.append(resource(token, policy, role.account, name=policy, policy=role.boundary))
        document: dict[str, Any] = {"assumeRolePolicy": role.trust, "policies": role.policies}
        resources.append(iam_role(role.name, account=role.account, **document, **inputs))
    resources += [issuer(provider.issuer, provider.account, provider.audiences) for provider in world.providers]
    organization = {account: name for account, name in world.organizations.items() if name}
    accounts = {account: account for account in organization}
    facts = Inventory(
        organization=next(iter(organization.values())), accounts=accounts, now=datetime.fromisoformat(world.now)
    )
    return AccessGraph.of(resources, facts)


def opened(world: World, questions: list[Question], graph: AccessGraph) -> Iterator[tuple[Node, str]]:
    """Yield the callers and roles of the questions that the second opinion answers with yes."""
    for question in questions:
        if isinstance(question, Act | AssumeRoleForPod) or (
            isinstance(question, AssumeRoleWithToken) and question.tags
        ):
            continue
        if isinstance(question, AssumeRole):
            session = question.session
            if (session.tags or session.inherited) and not graph.roles[session.role].takes_tags:
                continue  # no such session exists
            node = Node("role", session.role)
        else:
            node = graph.token(question.issuer, question.subject, question.audience)
        if answer(world, question).verdict == "ALLOWED":
            yield node, question.role


def closed_pairs(seeds: range) -> list[tuple[int, Node, str]]:
    """Return the pairs that the graph refuses in spite of the second opinion."""
    pairs = []
    for seed in seeds:
        world, questions = random_world(seed)
        graph = graph_of(world)
        pairs += [(seed, node, role) for node, role in opened(world, questions, graph) if closed(graph, node, role)]
    return pairs


def closed(graph: AccessGraph, node: Node, role: str) -> bool:
    return graph.may_enter(node, graph.roles[role]) is False or graph.best(graph.reach({node: True}), role) is None


def test_the_graph_closes_no_role_that_the_second_opinion_opens_in_a_few_worlds() -> None:
    assert closed_pairs(range(8)) == []


@pytest.mark.thorough
def test_the_graph_closes_no_role_that_the_second_opinion_opens_in_two_thousand_worlds() -> None:
    assert closed_pairs(range(8, 2008)) == []
