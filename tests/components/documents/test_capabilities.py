"""Permission documents of the capabilities: least privilege, sizes, prefixes."""

from __future__ import annotations

import json

import pytest

from components.documents import capabilities
from config.capabilities import Capability, Level
from config.names import Names
from config.sections import Organization
from tests.support.class_settings import settings_of
from tests.support.program import STACKS, listed, size

ACCOUNT = "222222222222"
INLINE_LIMIT = 10240


@pytest.mark.parametrize("capability", list(Capability))
@pytest.mark.parametrize("level", list(Level))
def test_a_capability_names_its_actions_and_roles_without_wildcards(capability: Capability, level: Level) -> None:
    grantee = capabilities.Grantee(names=settings_of("dev").names, account_id=ACCOUNT, level=level)
    document = capabilities.capability_document(capability, grantee)
    for statement in document["Statement"]:
        assert statement["Effect"] == "Allow"
        assert "NotAction" not in statement, "NotAction allows the actions of every new service"
        for action in listed(statement["Action"]):
            assert "*" not in action, f"{capability}: least privilege names its actions, not {action}"
            assert not action.startswith("sts:"), "a delegated role is the end of the chain"
            if action in {"iam:PassRole", "iam:CreateRole"}:
                assert listed(statement["Resource"]) == [f"arn:aws:iam::{ACCOUNT}:role/deploy/*"], (
                    "roles of deployments have the path /deploy/, and no other role is passed to a service"
                )
                assert statement["Condition"], f"{action} is bound to services, or to the boundary"


@pytest.mark.parametrize("level", list(Level))
def test_all_capabilities_of_a_role_fit_iam_s_inline_limit(level: Level) -> None:
    longest = Organization(id="o-" + "x" * 32, region="us-gov-west-1", partition="aws-us-gov")
    names = Names(organization=longest, stack="sixteenletters01")
    grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
    length = sum(size(capabilities.capability_document(capability, grantee)) for capability in Capability)
    assert length <= INLINE_LIMIT, "the capabilities are inline policies of one role"


@pytest.mark.parametrize("stack", STACKS)
def test_images_and_state_are_limited_to_the_prefix_of_level_and_stack(stack: str) -> None:
    names = settings_of(stack).names
    for level, other_level in ((Level.OPEN, Level.PROTECTED), (Level.PROTECTED, Level.OPEN)):
        grantee = capabilities.Grantee(names=names, account_id=ACCOUNT, level=level)
        push = capabilities.capability_document(Capability.ECR_PUSH, grantee)["Statement"][1]["Resource"]
        assert push.endswith(f":repository/{names.prefix}{level.value}/*")
        state = json.dumps(capabilities.capability_document(Capability.STATE, grantee))
        assert f"/{names.prefix}{level.value}/*" in state
        assert f"{other_level.value}/" not in state, f"{level} jobs read or write nothing of {other_level}"
