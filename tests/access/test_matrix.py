"""The access matrix of the real programs equals the settings, and every unexpected access is reported with its chain."""

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
from tests.support.program import ALL_STACKS

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.thorough

CICD, DEV, PROD = (load.of_foundation().accounts[name].id for name in ("cicd", "dev", "prod"))


@cache
def expected() -> list[Cell]:
    return declared([load.of_stack(stack) for stack in ALL_STACKS], load.of_foundation())


def matrix_differences(graph: AccessGraph) -> list[Difference]:
    return differences(expected(), derived(graph))


def unexpected(graph: AccessGraph) -> set[tuple[str, str]]:
    """Return the `(principal, role name)` pairs of access that no setting declares."""
    cells = (
        difference.cell for difference in matrix_differences(graph) if difference.cell.decision is Decision.ALLOWED
    )
    return {(cell.principal, cell.role.rpartition("/")[2]) for cell in cells}


def test_the_deployed_documents_grant_exactly_the_declared_access() -> None:
    assert [str(difference) for difference in matrix_differences(whole())] == []


def test_the_matrix_covers_every_kind_of_principal() -> None:
    kinds = {name.partition(":")[0] for name in principals(whole())}
    assert kinds == {
        "job",
        "manager",
        "node",
        "root",
        "deployer",
        "reader",
        "sa",
        "gitlab",
        "pipeline",
        "arn",
        "worker",
    }
    names = set(principals(whole()))
    assert {f"job:{stack}/{name}" for stack in ALL_STACKS for name in load.of_stack(stack).runners} <= names
    assert {"root:cicd", "root:stranger", "sa:jobs-small/default", "sa:stranger/stranger", "gitlab:stranger"} <= names


def test_a_class_without_accounts_reaches_its_own_role_only() -> None:
    roles = [
        cell.role
        for cell in derived(whole())
        if cell.principal == "job:prod/review" and cell.decision is Decision.ALLOWED
    ]
    assert [role.rpartition("/")[2] for role in roles] == ["runner-review"]


@pytest.mark.parametrize("stack", ALL_STACKS)
def test_each_stack_alone_grants_the_declared_access(stack: str) -> None:
    # The policy pack gets these resources: no foundation, no other stack.
    settings = load.of_stack(stack)
    graph = AccessGraph.of(resources(stack), type(facts()).of([settings]))
    assert [str(difference) for difference in differences(declared([settings]), derived(graph))] == []


def test_the_foundation_alone_grants_the_declared_access() -> None:
    settings = load.of_foundation()
    graph = AccessGraph.of(resources("foundation"), type(facts()).of([], settings))
    assert [str(difference) for difference in differences(declared([], settings), derived(graph))] == []


def with_trust(name: str, account: str, change: Callable[[dict[str, Any]], None]) -> AccessGraph:
    is_role = role_named(name, account)

    def inputs(candidate: Resource) -> dict[str, Any] | None:
        if not is_role(candidate):
            return None
        trust = trust_of(candidate)
        change(trust["Statement"][0])
        return {"assumeRolePolicy": json.dumps(trust)}

    return changed(inputs)


def test_a_trust_in_a_whole_account_admits_its_administrators() -> None:
    unexpected_access = unexpected(with_trust("delegated-role", PROD, lambda statement: statement.pop("Condition")))
    assert ("root:cicd", "delegated-role") in unexpected_access
    assert ("job:prod/small", "delegated-role") not in unexpected_access, "the policy of the job role does not allow it"


def test_a_wildcard_subject_admits_other_classes_and_strangers() -> None:
    def widen(statement: dict[str, Any]) -> None:
        equals = statement["Condition"]["StringEquals"]
        subject = next(key for key in equals if key.endswith(":sub"))
        del equals[subject]
        statement["Condition"]["StringLike"] = {subject: "system:serviceaccount:jobs-*:*"}

    unexpected_access = unexpected(with_trust("runner-deploy", CICD, widen))
    assert {("job:prod/small", "delegated-role"), ("sa:stranger/stranger", "delegated-role")} <= unexpected_access
    assert not [principal for principal, _ in unexpected_access if principal.startswith("job:dev/")], (
        "the other stack has another OIDC issuer"
    )


def test_access_from_another_stack_is_unexpected_when_both_sides_allow_it() -> None:
    def add_principal(statement: dict[str, Any]) -> None:
        statement["Condition"]["ArnEquals"]["aws:PrincipalArn"].append(
            f"arn:aws:iam::{CICD}:role/cicd-dev/runner-small-dev"
        )

    def with_permission(candidate: Resource) -> dict[str, Any] | None:
        if candidate.type != "aws:iam/rolePolicy:RolePolicy" or candidate.inputs["role"] != "runner-small-dev":
            return None
        document = json.loads(candidate.inputs["policy"])
        document["Statement"][0]["Resource"].append(f"arn:aws:iam::{PROD}:role/cicd/delegated-role")
        return {"policy": json.dumps(document)}

    assert ("job:dev/small", "delegated-role") not in unexpected(with_trust("delegated-role", PROD, add_principal))
    assert unexpected(changed(with_permission)) == set(), "a permission without the trust gives no access"

    is_role = role_named("delegated-role", PROD)

    def with_both(candidate: Resource) -> dict[str, Any] | None:
        if is_role(candidate):
            trust = trust_of(candidate)
            add_principal(trust["Statement"][0])
            return {"assumeRolePolicy": json.dumps(trust)}
        return with_permission(candidate)

    (difference,) = [
        difference
        for difference in matrix_differences(changed(with_both))
        if difference.cell.principal == "job:dev/small"
    ]
    assert difference.cell.chain == (
        f"arn:aws:iam::{CICD}:role/cicd-dev/runner-small-dev",
        f"arn:aws:iam::{PROD}:role/cicd/delegated-role",
    )


def test_a_namespace_that_jobs_may_overwrite_gives_unexpected_access() -> None:
    def with_overwrite(candidate: Resource) -> dict[str, Any] | None:
        if candidate.name != "small-runner-release" or candidate.stack != "prod":
            return None
        values = json.loads(json.dumps(candidate.inputs["values"]))
        text = values["runners"]["config"]
        values["runners"]["config"] = text.replace(
            'namespace_overwrite_allowed = ""', 'namespace_overwrite_allowed = "jobs"'
        )
        return {"values": values}

    assert {("job:prod/small", "runner-deploy"), ("job:prod/small", "delegated-role")} <= unexpected(
        changed(with_overwrite)
    )


def test_running_pods_in_the_namespace_of_another_class_is_unexpected_access() -> None:
    def in_other_namespace(candidate: Resource) -> dict[str, Any] | None:
        if candidate.stack != "dev" or candidate.name not in ("small-runner-executor", "small-runner-executor-binding"):
            return None
        return {"metadata": {**candidate.inputs["metadata"], "namespace": namespace_jobs("deploy")}}

    assert ("manager:dev/small", "delegated-role-dev") in unexpected(changed(in_other_namespace))


def test_an_administrator_policy_gives_access_only_without_the_boundary() -> None:
    def with_open_policy(candidate: Resource) -> dict[str, Any] | None:
        if (
            candidate.type == "aws:iam/rolePolicy:RolePolicy"
            and candidate.inputs["role"] == "delegated-role-open"
            and candidate.account == DEV
        ):
            return {"policy": json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})}
        return None

    def without_boundary(candidate: Resource) -> dict[str, Any] | None:
        return (
            {"permissionsBoundary": None}
            if role_named("delegated-role-open", DEV)(candidate)
            else with_open_policy(candidate)
        )

    assert unexpected(changed(with_open_policy)) == set(), "the boundary limits the role"
    assert ("job:prod/small", "platform-deployer") in unexpected(changed(without_boundary)), "the role has no boundary"


def test_a_trust_in_a_foreign_issuer_gives_unexpected_access() -> None:
    foreign = "token.actions.example"
    provider = Resource(
        urn="urn:pulumi:prod::p::t::x",
        type="aws:iam/openIdConnectProvider:OpenIdConnectProvider",
        name="x",
        inputs={"url": f"https://{foreign}", "clientIdLists": ["sts.amazonaws.com"]},
        provider_inputs=pinned_to(CICD),
    )
    is_role = role_named("runner-deploy", CICD)

    def widen(candidate: Resource) -> dict[str, Any] | None:
        if not is_role(candidate):
            return None
        trust = trust_of(candidate)
        trust["Statement"][0] |= {
            "Principal": {"Federated": f"arn:aws:iam::{CICD}:oidc-provider/{foreign}"},
            "Condition": {},
        }
        return {"assumeRolePolicy": json.dumps(trust)}

    assert (f"issuer:{foreign}", "delegated-role") in unexpected(changed(widen, provider))
    assert (f"issuer:{foreign}", "delegated-role") not in unexpected(changed(widen)), (
        "the account has no provider for this issuer"
    )


def test_an_unknown_trust_is_an_undecided_difference() -> None:
    is_role = role_named("runner-deploy", CICD)
    differences_found = matrix_differences(
        changed(lambda candidate: {"assumeRolePolicy": UNKNOWN} if is_role(candidate) else None)
    )
    assert {difference.cell.decision for difference in differences_found} == {Decision.UNDECIDED}
    assert all("not known yet" in difference.cell.reason for difference in differences_found)
    assert "job:prod/deploy" in {difference.cell.principal for difference in differences_found}


def test_a_first_preview_never_decides_the_opposite_of_the_deployed_stack() -> None:
    # A new cluster has no OIDC issuer yet, so every document with the issuer is unknown.
    def without_issuer(candidate: Resource) -> dict[str, Any] | None:
        if candidate.stack == "foundation":
            return None
        if candidate.type == "aws:iam/openIdConnectProvider:OpenIdConnectProvider":
            return {"url": UNKNOWN}
        return {"assumeRolePolicy": UNKNOWN} if "oidc.eks." in str(candidate.inputs.get("assumeRolePolicy")) else None

    preview_cells = derived(changed(without_issuer))
    deployed_decisions = {(cell.principal, cell.role): cell.decision for cell in derived(whole())}
    assert all(
        cell.decision in (deployed_decisions.get((cell.principal, cell.role)), Decision.UNDECIDED, Decision.DENIED)
        for cell in preview_cells
    )
    wrongly_denied = [
        cell
        for cell in preview_cells
        if cell.decision is Decision.DENIED and deployed_decisions.get((cell.principal, cell.role)) is Decision.ALLOWED
    ]
    assert not wrongly_denied, "access that will be allowed must not be denied in the preview"
    job_decisions = {
        cell.decision
        for cell in preview_cells
        if cell.principal == "job:prod/small" and cell.role.endswith("/runner-small")
    }
    assert job_decisions == {Decision.UNDECIDED}


def test_missing_declared_access_is_a_difference() -> None:
    closed = json.dumps({"Statement": {"Effect": "Deny", "Principal": "*", "Action": "*"}})
    is_role = role_named("delegated-role", PROD)
    differences_found = matrix_differences(
        changed(lambda candidate: {"assumeRolePolicy": closed} if is_role(candidate) else None)
    )
    assert ("job:prod/deploy", Decision.DENIED) in {
        (difference.cell.principal, difference.cell.decision) for difference in differences_found
    }
    (missing,) = differences([Cell("job:x/y", "dev", "arn:aws:iam::1:role/gone", Decision.ALLOWED)], [])
    assert "there is no such" in str(missing)
