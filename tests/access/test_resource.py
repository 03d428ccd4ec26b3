"""A resource as a state, the engine or a mock run shows it."""

from __future__ import annotations

from typing import Any

import pytest

from access.resource import (
    ENGINE_UNKNOWN,
    SECRET,
    SIGNATURE,
    UNKNOWN,
    Resource,
    account_ids,
    at,
    deployed,
    from_wire,
    listed,
    pinned_to,
    without_secrets,
)

STACK = "urn:pulumi:dev::runner-platform::pulumi:pulumi:Stack::runner-platform-dev"
ROLE = "urn:pulumi:dev::runner-platform::aws:iam/role:Role::job"
PROVIDER = "urn:pulumi:dev::runner-platform::pulumi:providers:aws::cicd"


def state(urn: str, token: str, **fields: Any) -> dict[str, Any]:
    return {"urn": urn, "type": token, **fields}


PROVIDER_STATE = state(PROVIDER, "pulumi:providers:aws", inputs={"allowedAccountIds": '["222222222222"]'})
ROLE_STATE = state(
    ROLE,
    "aws:iam/role:Role",
    provider=f"{PROVIDER}::0123-id",
    parent=STACK,
    inputs={"name": "job", "path": "/", "token": "written"},
    outputs={"name": "job", "path": "/cicd/", "token": {SIGNATURE: "secret"}, "arn": "arn:job"},
    protect=True,
    retainOnDelete=True,
    dependencies=[STACK],
    deletedWith=STACK,
    aliases=["urn:old"],
)


def test_a_deployed_resource_has_the_clouds_values_of_its_inputs() -> None:
    _, role = deployed({"resources": [state(STACK, "pulumi:pulumi:Stack"), PROVIDER_STATE, ROLE_STATE]})
    assert role == Resource(
        urn=ROLE,
        type="aws:iam/role:Role",
        name="job",
        inputs={"name": "job", "path": "/cicd/", "token": SECRET},
        outputs={"name": "job", "path": "/cicd/", "token": SECRET, "arn": "arn:job"},
        parent=STACK,
        provider=PROVIDER,
        provider_id="0123-id",
        provider_inputs={"allowedAccountIds": '["222222222222"]'},
        custom=True,
        protect=True,
        retain_on_delete=True,
        depends_on=(STACK,),
        deleted_with=STACK,
        aliases=("urn:old",),
    )
    assert (role.stack, role.account_name, role.account) == ("dev", "cicd", "222222222222")


def test_what_a_state_leaves_out_has_the_engines_default() -> None:
    (bare,) = deployed({"resources": [state(ROLE, "aws:iam/role:Role")]})
    assert (bare.custom, bare.protect, bare.retain_on_delete) == (True, False, False)
    assert (bare.parent, bare.provider, bare.deleted_with, bare.depends_on, bare.aliases) == ("", "", "", (), ())
    assert (bare.provider_inputs, bare.account) == (None, "")
    (component,) = deployed({"resources": [state(ROLE, "p:i:C", custom=False)]})
    assert not component.custom
    assert component.account_name is None, "outside AWS there is no account"


def test_a_resource_that_waits_for_its_deletion_is_not_deployed() -> None:
    assert deployed({"resources": [{**ROLE_STATE, "delete": True}]}) == []
    assert deployed({}) == []


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (["222222222222"], ["222222222222"]),
        ('["222222222222", "333333333333"]', ["222222222222", "333333333333"]),
        ("222222222222", []),
        ("not JSON", []),
        (None, []),
        (UNKNOWN, []),
    ],
)
def test_a_provider_is_pinned_to_a_list_of_accounts(written: Any, expected: list[str]) -> None:
    assert account_ids({"allowedAccountIds": written}) == expected


@pytest.mark.parametrize("accounts", [[], ["222222222222", "333333333333"]])
def test_a_provider_that_is_not_pinned_to_one_account_says_nothing(accounts: list[str]) -> None:
    inputs = {"allowedAccountIds": accounts}
    assert Resource(urn=ROLE, type="aws:iam/role:Role", name="job", inputs={}, provider_inputs=inputs).account == ""
    assert pinned_to("222222222222") == {"allowedAccountIds": ["222222222222"]}


def test_a_urn_of_another_form_names_no_stack() -> None:
    assert Resource(urn="job", type="aws:iam/role:Role", name="job", inputs={}).stack == ""


def test_a_value_below_an_unknown_one_is_unknown_and_below_an_absent_one_absent() -> None:
    value = {"spec": {"role": "node"}, "status": UNKNOWN, "text": "x"}
    assert at(value, "spec", "role") == "node"
    assert at(value, "status", "phase") is UNKNOWN
    assert at(value, "spec", "role", "more") is None
    assert at(value, "absent", "role") is None
    assert at(value, "text", "role") is None


def test_a_list_of_one_may_be_written_without_the_list() -> None:
    assert (listed(None), listed("a"), listed(("a", "b")), listed(UNKNOWN)) == ([], ["a"], ["a", "b"], [UNKNOWN])


def test_unknown_values_and_secrets_are_replaced_at_every_depth() -> None:
    assert from_wire({"a": [ENGINE_UNKNOWN, {"b": "[unknown]"}], "c": 1}) == {"a": [UNKNOWN, {"b": UNKNOWN}], "c": 1}
    assert without_secrets({"a": [{SIGNATURE: "x"}, 1]}) == {"a": [SECRET, 1]}
