"""Mutations of the policy run: configuration, exceptions, unknown values, providers, the access matrix."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pulumi
import pulumi_aws as aws
from pulumi.runtime import rpc

from components.account_access import AccountAccess
from config.runners import Runner
from config.sections import Account  # noqa: TC001
from tests.attacks.catalog.jobs import values
from tests.attacks.catalog.trusts import BARE, PROD_PROTECTED, of_delegated
from tests.attacks.change import GONE, put, with_addition, with_inputs
from tests.attacks.mutation import seen_by

REVIEW = {
    "level": "open",
    "accounts": [],
    "cpu": "1",
    "memory": "2Gi",
    "disk": "10Gi",
    "concurrent": 2,
    "longest_job": "30m",
}
ROLE = "urn:pulumi:prod::runner-platform::aws:iam/role:Role::delegated-prod-protected-role"
EXPIRED = f"- {{rule: T02, resource: '{ROLE}', reason: somebody needed it for one week only, expires: 2024-01-01}}\n"

UNUSED = f"- {{rule: T01, resource: '{ROLE}', reason: somebody needed it for one week only, expires: 2999-01-01}}\n"


def unknown(_answer: Any) -> Any:
    """Return a value that is unknown until the deployment."""
    return pulumi.Output.from_input(rpc.UNKNOWN)


def by_level_alone(runner: Runner, _account_name: str, account: Account) -> bool:
    """Return whether the account has capabilities for the trust level of the class; ignore the class's list of accounts."""
    return bool(account.capabilities(runner.level))


def not_narrowed() -> Any:
    """Let a class into accounts outside the class's list."""
    return mock.patch.object(Runner, "may_enter", by_level_alone)


def without_provider(_component: Any, _args: Any) -> None:
    """Make a KMS alias with the default provider, so with any credentials of the environment."""
    aws.kms.Alias("around", name="alias/around", target_key_id="key", opts=pulumi.ResourceOptions())


MUTATIONS = [
    seen_by(
        "T03 T10 T13",
        "A19",
        "the class for unreviewed code reaches what its level reaches",
        not_narrowed,
        settings={"runners.review": REVIEW},
    ),
    seen_by(
        "H02 T02 T10 T11",
        "A19",
        "every rule is disabled by the branch's configuration",
        of_delegated(BARE),
        configuration={"all": "disabled"},
    ),
    seen_by(
        "H02", "A19", "every rule is made advisory by the branch's configuration", configuration={"all": "advisory"}
    ),
    seen_by("H04 T02 T10 T11", "A19", "an exception that has expired", of_delegated(BARE), exceptions=EXPIRED),
    seen_by("H04", "A19", "an exception that nothing needs", exceptions=UNUSED),
    seen_by(
        "H01",
        "A25",
        "the provider of prod acts with the profile of dev",
        with_inputs(aws.Provider, "prod", profile="platform-dev"),
    ),
    seen_by(
        "H01 P02 P03 P04 P10 P11 T03 T10 T11",
        "A25",
        "the provider of prod is pinned to the account dev",
        with_inputs(aws.Provider, "prod", allowed_account_ids=["333333333333"]),
    ),
    seen_by(
        "H01 P02 P04 P10 P11 T03 T10 T11",
        "A25",
        "the provider of prod is pinned to no account",
        with_inputs(aws.Provider, "prod", allowed_account_ids=GONE),
    ),
    seen_by(
        "H01",
        "A25",
        "a resource without a provider of its own",
        with_addition(AccountAccess, without_provider, "access-dev"),
    ),
    seen_by("H02", "A26", "a resource whose inputs the engine never shows", hidden="cluster-key"),
    seen_by(
        "T01 T02 T03 T04 T05 T06 T07 T09 T10 T11",
        "A26",
        "a delegated role's trust that nobody knows yet",
        with_inputs(aws.iam.Role, PROD_PROTECTED, assume_role_policy=unknown),
    ),
    seen_by(
        "I01 I02 R01 R02 R03 R04 R05 R06 R09 R10 S02 T10",
        "A26",
        "a runner's settings that nobody knows yet",
        values(put(unknown, "runners", "config")),
    ),
]
