"""The matrix of the real programs: exactly what the settings declare, and every attack on it is seen with its chain."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from access.decision import Decision
from access.graph import AccessGraph
from access.matrix import Cell, Difference, declared, derived, differences, principals
from access.resource import UNKNOWN, Resource, pinned_to
from config import load
from config.names import namespace_jobs
from tests.support.access_programs import changed, facts, resources, role_named, trust_of, whole
from tests.support.program import STACKS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.thorough

CICD, DEV, PROD = (load.of_foundation().accounts[name].id for name in ("cicd", "dev", "prod"))


@cache
def expected() -> list[Cell]:
    return declared([load.of_stack(stack) for stack in STACKS], load.of_foundation())


def wrong(of: AccessGraph) -> list[Difference]:
    return differences(expected(), derived(of))


def unexpected(of: AccessGraph) -> set[tuple[str, str]]:
    """Principals and names of roles that nobody declared."""
    found = (each.cell for each in wrong(of) if each.cell.decision is Decision.ALLOWED)
    return {(cell.principal, cell.role.rpartition("/")[2]) for cell in found}


def test_the_documents_say_what_the_settings_declare_and_nothing_is_undecided() -> None:
    assert [str(each) for each in wrong(whole())] == []


def test_every_kind_of_principal_is_asked_about() -> None:
    asked = {name.partition(":")[0] for name in principals(whole())}
    assert asked == {"job", "manager", "node", "root", "deployer", "reader", "sa", "gitlab", "pipeline", "arn"}
    names = set(principals(whole()))
    assert {f"job:{stack}/{name}" for stack in STACKS for name in load.of_stack(stack).runners} <= names
    assert {"root:cicd", "root:stranger", "sa:jobs-small/default", "sa:stranger/stranger", "gitlab:stranger"} <= names


def test_a_class_that_lists_no_account_reaches_its_own_role_only() -> None:
    reach = [
        each.role
        for each in derived(whole())
        if each.principal == "job:prod/review" and each.decision is Decision.ALLOWED
    ]
    assert [each.rpartition("/")[2] for each in reach] == ["runner-review"]


@pytest.mark.parametrize("stack", STACKS)
def test_one_stack_alone_is_as_declared_too(stack: str) -> None:
    # As a policy pack sees it: without the foundation's resources and without the other stack.
    settings = load.of_stack(stack)
    of = AccessGraph.of(resources(stack), type(facts()).of([settings]))
    assert [str(each) for each in differences(declared([settings]), derived(of))] == []


def test_the_foundation_alone_is_as_declared_too() -> None:
    settings = load.of_foundation()
    of = AccessGraph.of(resources("foundation"), type(facts()).of([], settings))
    assert [str(each) for each in differences(declared([], settings), derived(of))] == []


def with_trust(name: str, account: str, change: Callable[[dict[str, Any]], None]) -> AccessGraph:
    is_it = role_named(name, account)

    def inputs(each: Resource) -> dict[str, Any] | None:
        if not is_it(each):
            return None
        trust = trust_of(each)
        change(trust["Statement"][0])
        return {"assumeRolePolicy": json.dumps(trust)}

    return changed(inputs)


def test_a_bare_account_in_a_trust_lets_its_administrators_in_and_roles_with_a_permission() -> None:
    found = unexpected(with_trust("delegated-role", PROD, lambda statement: statement.pop("Condition")))
    assert ("root:cicd", "delegated-role") in found
    assert ("job:prod/small", "delegated-role") not in found, "its own policy does not let it"


def test_a_wildcard_subject_lets_other_classes_and_strangers_in() -> None:
    def widen(statement: dict[str, Any]) -> None:
        equals = statement["Condition"]["StringEquals"]
        subject = next(key for key in equals if key.endswith(":sub"))
        del equals[subject]
        statement["Condition"]["StringLike"] = {subject: "system:serviceaccount:jobs-*:*"}

    found = unexpected(with_trust("runner-deploy", CICD, widen))
    assert {("job:prod/small", "delegated-role"), ("sa:stranger/stranger", "delegated-role")} <= found
    assert not [who for who, _ in found if who.startswith("job:dev/")], "the other stack has another issuer"


def test_a_trust_in_the_other_stacks_role_is_seen() -> None:
    def widen(statement: dict[str, Any]) -> None:
        statement["Condition"]["ArnEquals"]["aws:PrincipalArn"].append(
            f"arn:aws:iam::{CICD}:role/cicd-dev/runner-small-dev"
        )

    def permitted(each: Resource) -> dict[str, Any] | None:
        if each.type != "aws:iam/rolePolicy:RolePolicy" or each.inputs["role"] != "runner-small-dev":
            return None
        document = json.loads(each.inputs["policy"])
        document["Statement"][0]["Resource"].append(f"arn:aws:iam::{PROD}:role/cicd/delegated-role")
        return {"policy": json.dumps(document)}

    assert ("job:dev/small", "delegated-role") not in unexpected(with_trust("delegated-role", PROD, widen))
    assert unexpected(changed(permitted)) == set(), "one side alone opens nothing"

    is_it = role_named("delegated-role", PROD)

    def both(each: Resource) -> dict[str, Any] | None:
        if is_it(each):
            trust = trust_of(each)
            widen(trust["Statement"][0])
            return {"assumeRolePolicy": json.dumps(trust)}
        return permitted(each)

    (found,) = [each for each in wrong(changed(both)) if each.cell.principal == "job:dev/small"]
    assert found.cell.chain == (
        f"arn:aws:iam::{CICD}:role/cicd-dev/runner-small-dev",
        f"arn:aws:iam::{PROD}:role/cicd/delegated-role",
    )


def test_an_overwrite_that_a_job_may_make_is_seen() -> None:
    def opened(each: Resource) -> dict[str, Any] | None:
        if each.name != "small-runner-release" or each.stack != "prod":
            return None
        values = json.loads(json.dumps(each.inputs["values"]))
        text = values["runners"]["config"]
        values["runners"]["config"] = text.replace(
            'namespace_overwrite_allowed = ""', 'namespace_overwrite_allowed = "jobs"'
        )
        return {"values": values}

    assert {("job:prod/small", "runner-deploy"), ("job:prod/small", "delegated-role")} <= unexpected(changed(opened))


def test_the_right_to_run_pods_in_another_classes_namespace_is_seen() -> None:
    def moved(each: Resource) -> dict[str, Any] | None:
        if each.stack != "dev" or each.name not in ("small-runner-executor", "small-runner-executor-binding"):
            return None
        return {"metadata": {**each.inputs["metadata"], "namespace": namespace_jobs("deploy")}}

    assert ("manager:dev/small", "delegated-role-dev") in unexpected(changed(moved))


def test_a_boundary_that_goes_gives_a_deployment_role_nothing_yet_and_an_open_policy_does() -> None:
    def open_policy(each: Resource) -> dict[str, Any] | None:
        if (
            each.type == "aws:iam/rolePolicy:RolePolicy"
            and each.inputs["role"] == "delegated-role-open"
            and each.account == DEV
        ):
            return {"policy": json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})}
        return None

    def unbound(each: Resource) -> dict[str, Any] | None:
        return {"permissionsBoundary": None} if role_named("delegated-role-open", DEV)(each) else open_policy(each)

    assert unexpected(changed(open_policy)) == set(), "the boundary holds"
    assert ("job:prod/small", "platform-deployer") in unexpected(changed(unbound)), "and without it nothing does"


def test_an_issuer_that_is_not_ours_is_a_stranger_who_gets_in() -> None:
    foreign = "token.actions.example"
    provider = Resource(
        urn="urn:pulumi:prod::p::t::x",
        type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        name="x",
        inputs={"url": f"https://{foreign}", "clientIdLists": ["sts.amazonaws.com"]},
        provider_inputs=pinned_to(CICD),
    )
    is_it = role_named("runner-deploy", CICD)

    def widen(each: Resource) -> dict[str, Any] | None:
        if not is_it(each):
            return None
        trust = trust_of(each)
        trust["Statement"][0] |= {
            "Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/{foreign}"},
            "Condition": {},
        }
        return {"assumeRolePolicy": json.dumps(trust)}

    assert (f"issuer:{foreign}", "delegated-role") in unexpected(changed(widen, provider))
    assert (f"issuer:{foreign}", "delegated-role") not in unexpected(changed(widen)), "no provider, no way in"


def test_a_trust_that_is_not_known_yet_is_undecided_and_differs_from_what_is_declared() -> None:
    is_it = role_named("runner-deploy", CICD)
    found = wrong(changed(lambda each: {"assumeRolePolicy": UNKNOWN} if is_it(each) else None))
    assert {each.cell.decision for each in found} == {Decision.UNDECIDED}
    assert all("not known yet" in each.cell.reason for each in found)
    assert "job:prod/deploy" in {each.cell.principal for each in found}


def test_a_first_preview_is_undecided_where_a_document_is_not_known_and_never_the_opposite() -> None:
    # The issuer of a cluster that is being created is not known, and so is every document that holds it.
    def before(each: Resource) -> dict[str, Any] | None:
        if each.stack == "foundation":
            return None
        if each.type == "aws:iam/openIdConnectProvider:OpenIdConnectProvider":
            return {"url": UNKNOWN}
        return {"assumeRolePolicy": UNKNOWN} if "oidc.eks." in str(each.inputs.get("assumeRolePolicy")) else None

    found = derived(changed(before))
    later = {(each.principal, each.role): each.decision for each in derived(whole())}
    assert all(
        each.decision in (later.get((each.principal, each.role)), Decision.UNDECIDED, Decision.DENIED) for each in found
    )
    gone = [
        each
        for each in found
        if each.decision is Decision.DENIED and later.get((each.principal, each.role)) is Decision.ALLOWED
    ]
    assert not gone, "what will be allowed is never said to be denied"
    job = {
        each.decision for each in found if each.principal == "job:prod/small" and each.role.endswith("/runner-small")
    }
    assert job == {Decision.UNDECIDED}


def test_access_that_is_declared_and_not_there_is_a_difference() -> None:
    closed = json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*"}})
    is_it = role_named("delegated-role", PROD)
    found = wrong(changed(lambda each: {"assumeRolePolicy": closed} if is_it(each) else None))
    assert ("job:prod/deploy", Decision.DENIED) in {(each.cell.principal, each.cell.decision) for each in found}
    (missing,) = differences([Cell("job:x/y", "dev", "arn:aws:iam::1:role/gone", Decision.ALLOWED)], [])
    assert "there is no such" in str(missing)
