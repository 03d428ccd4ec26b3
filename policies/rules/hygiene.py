"""Rules of the policy pack itself and of what all resources share: providers, IAM users, exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from policies.fields import decode_json
from policies.rule import resource_rule, stack_rule
from policies.type_tokens import AWS_PROVIDER, USERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

DOCS = "docs/operate/policies.md"


@resource_rule(
    "H01",
    "aws-provider-pins-one-account",
    [],
    demands="every AWS resource goes through an explicit provider that is pinned to exactly one listed account",
    stops="A25: a profile points to another account, and a role is made in the wrong one",
    remedy="Give the resource a provider of components/providers.py; keep pulumi:disable-default-providers on.",
    settings=("accounts.{account}",),
    source=DOCS,
)
def provider_is_pinned(checked: CheckedResource) -> Iterator[str]:
    """An explicit provider, one allowed account, and the profile of that account."""
    resource = checked.resource
    if resource.type == AWS_PROVIDER:
        yield from _one_account(checked)
    elif resource.type.startswith("aws:"):
        if not resource.provider or "::default" in resource.provider:
            yield "the resource has no explicit provider: the credentials of the shell decide its account"
        elif resource.provider_inputs is not None and not resource.account:
            checked.undecide("provider.allowedAccountIds")


def _one_account(provider: CheckedResource) -> Iterator[str]:
    ids = provider["allowedAccountIds"]
    if ids.absent:
        yield "allowedAccountIds is missing: the profile alone decides the account"
        return
    pinned = decode_json(ids.get())
    if pinned is None:
        return
    accounts = provider.run.account_ids
    name = next((name for name, account in accounts.items() if [account] == pinned), None)
    if name is None:
        yield f"allowedAccountIds is {pinned}, not exactly one of the settings' accounts ({', '.join(accounts)})"
        return
    prefix = "platform" if provider.run.platform_settings is not None else "foundation"
    if (profile := provider["profile"].text()) not in {None, f"{prefix}-{name}"}:
        yield f"profile is {profile!r} and allowedAccountIds is account {name}, for which the profile is {prefix}-{name}"
    for key in ("accessKey", "secretKey", "token", "assumeRoles", "assumeRoleWithWebIdentity", "endpoints"):
        if not provider[key].absent:
            yield f"{key} is set: credentials and endpoints come from the caller's AWS config, not from the program"


@resource_rule(
    "P08",
    "iam-user-never-exists",
    list(USERS),
    demands="there are no IAM users, access keys and console passwords",
    stops="a key that never expires leaks",
    remedy="Use a role, and short sessions of it.",
    source="CKV_AWS_273, IAM.2",
)
def no_users(_resource: CheckedResource) -> Iterator[str]:
    """No resource of these types."""
    yield "this resource is a lasting credential; people and machines use sessions of roles"


@stack_rule(
    "H02",
    "pulumi-pack-decides-everything",
    demands="the rules see every resource with its inputs, and no mandatory rule is switched off",
    stops="A26 and A19: an unknown value, or a configuration from the branch under review, silences a rule",
    remedy=f"Remove the level from the configuration; write exceptions into policies/exceptions.yaml ({DOCS}).",
    source=DOCS,
    severity=Severity.CRITICAL,
)
def everything_is_decided(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Checks of the run as a whole; each rule reports its own undecided fields."""
    state = stack.index.pack_state
    for urn in state.never_shown:
        yield urn, "the engine never sent this resource's inputs, so no rule has checked it"
    if state.lowered:
        yield "", f"the configuration lowers {', '.join(state.lowered)}; this has no effect"


@stack_rule(
    "H04",
    "pulumi-pack-limits-exceptions",
    demands="every exception is needed and has not expired",
    stops="a hole that was opened for a week stays for years",
    remedy="Remove the entry from policies/exceptions.yaml, or fix the resource that it covers.",
    source=DOCS,
    severity=Severity.MEDIUM,
)
def exceptions_are_few(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Expired and unused entries are findings."""
    run = stack.run
    yield from stack.index.pack_state.exceptions.complaints(run.stack, run.project)
