"""Rules of the gate itself and of what everything shares: providers, decisions, exceptions, people's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from policies.fields import decoded
from policies.rule import resource_rule, stack_rule
from policies.type_tokens import USERS

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
    stops="A25: a profile points elsewhere, and a role for one account lands in another",
    remedy="Give the resource a provider of components/providers.py; pulumi:disable-default-providers stays on.",
    settings=("accounts.{account}",),
    source="docs/operate/policies.md",
)
def provider_is_pinned(resource: CheckedResource) -> Iterator[str]:
    """An explicit provider, one allowed account, and the profile of that account."""
    seen = resource.seen
    if seen.type == "pulumi:providers:aws":
        yield from _one_account(resource)
    elif seen.type.startswith("aws:"):
        if not seen.provider or "::default" in seen.provider:
            yield "the resource has no provider of its own: whatever credentials are around decide its account"
        elif seen.provider_inputs is not None and not seen.account:
            resource.undecide("provider.allowedAccountIds")


def _one_account(provider: CheckedResource) -> Iterator[str]:
    ids = provider["allowedAccountIds"]
    if ids.absent:
        yield "allowedAccountIds is missing: the profile alone decides the account"
        return
    pinned = decoded(ids.get())
    if pinned is None:
        return
    known = provider.surroundings.account_ids
    names = [name for name, its in known.items() if [its] == pinned]
    if not names:
        yield f"allowedAccountIds is not exactly one of the listed accounts ({', '.join(known)})"
        return
    prefix = "platform" if provider.surroundings.runners is not None else "foundation"
    if (profile := provider["profile"].text()) not in {None, f"{prefix}-{names[0]}"}:
        yield f"profile {profile!r} goes with allowedAccountIds of account {names[0]}; its profile is {prefix}-{names[0]}"
    for key in ("accessKey", "secretKey", "token", "assumeRoles", "assumeRoleWithWebIdentity", "endpoints"):
        if not provider[key].absent:
            yield f"{key} says who acts or where; the caller's AWS config does"


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
    """Any such resource is one too many."""
    yield "people and machines get sessions of roles; this makes a lasting credential"


@stack_rule(
    "H02",
    "pulumi-pack-decides-everything",
    demands="every resource was shown to the rules with its inputs, and no mandatory rule is switched off",
    stops="A26 and A19: an unknown value or a configuration of the branch under review silences a rule",
    remedy=f"Levels are not configuration: what a rule is wrong about stands in exceptions.yaml ({DOCS}).",
    source=DOCS,
    severity=Severity.CRITICAL,
)
def everything_is_decided(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """What single rules could not decide they say themselves; this is about the run as a whole."""
    run = stack.index.run
    for urn in run.never_shown:
        yield urn, "the engine never showed this resource's inputs, so no rule has seen it"
    if run.lowered:
        yield "", f"the configuration lowers {', '.join(run.lowered)}; that has no effect"


@stack_rule(
    "H04",
    "pulumi-pack-limits-exceptions",
    demands="every exception is needed and has not expired",
    stops="a hole that was opened for a week stays for years",
    remedy="Remove the entry from exceptions.yaml, or mend what it covers.",
    source=DOCS,
    severity=Severity.MEDIUM,
)
def exceptions_are_few(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Expired and unused entries are findings."""
    surroundings = stack.surroundings
    yield from stack.index.run.exceptions.complaints(surroundings.stack, surroundings.project)
