"""Rules of the policy pack itself and of what all resources share: types, code, providers, IAM users, exceptions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents.cluster import kubeconfig
from components.documents.runner_object import api_url
from config.tags import default_tags
from policies.fields import decode_json
from policies.judged_types import COMPONENTS, ENGINE_KEYS, JUDGED, runs_code
from policies.rule import resource_rule, stack_rule
from policies.type_tokens import AWS_PROVIDER, CLUSTER, GITLAB_PROVIDER, KUBERNETES_PROVIDER, STACK, USERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

DOCS = "docs/operate/policies.md"
AWS_OPTIONS = frozenset({"allowedAccountIds", "profile", "region", "defaultTags", "skipCredentialsValidation"})
"""Options of an AWS provider that follow from the settings."""
HARMLESS_OPTIONS = frozenset({"version", "skipRegionValidation", *ENGINE_KEYS})
KUBERNETES_FLAGS = ("enableServerSideApply", "enableSecretMutable", "enableConfigMapMutable")
FROM_SETTINGS = (
    "account, credentials and endpoints follow from the settings and the caller's AWS config, not from the program"
)


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
    yield from _aws_options(provider)


def _aws_options(provider: CheckedResource) -> Iterator[str]:
    """Options as components/providers.py sets them; any other option can take a guard away."""
    settings, run = provider.run.settings, provider.run
    if provider["skipCredentialsValidation"].flag(default=False):
        yield "skipCredentialsValidation is on: nobody compares the account of the credentials"
    if (region := provider["region"].text()) not in {None, settings.organization.region}:
        yield f"region is {region!r}, not {settings.organization.region} of the settings"
    tags = decode_json(provider["defaultTags"].get({}))
    if tags is not None and tags != {"tags": default_tags(run.stack, settings.tags)}:
        yield "defaultTags are not those of the settings: tags decide what deployers may change"
    for key, value in provider.root.entries():
        if key not in AWS_OPTIONS | HARMLESS_OPTIONS and not value.absent:
            yield f"{key} is set: {FROM_SETTINGS}"


@resource_rule(
    "H05",
    "pulumi-resource-is-judged",
    [],
    demands="every resource type, and every property of it, is one that a rule judges or that the table calls harmless",
    stops="A30: a resource that no rule looks at opens what all rules keep closed",
    remedy="Remove it; or teach the pack (policies/judged_types.py, with a rule); or write an exception for this resource.",
    source=DOCS,
    severity=Severity.CRITICAL,
)
def is_judged(checked: CheckedResource) -> Iterator[str]:
    """A type of the table, with properties of the table."""
    token, region = checked.type, checked.run.settings.organization.region
    if token == STACK or token.startswith(COMPONENTS) or runs_code(token):
        return
    judged = JUDGED.get(token)
    if judged is None:
        yield f"undecided: nobody judges {token}"
        return
    for path, undecidable in judged.strangers(checked.resource.inputs):
        if undecidable:
            checked.undecide(path)
        elif path != "region" or checked["region"].text() != region:
            yield f"undecided: nobody judges {path} of {token}"


@resource_rule(
    "H06",
    "pulumi-resource-runs-no-code",
    [],
    demands="no resource runs code, or applies what it fetches, while the program is deployed",
    stops="A30: a command or a dynamic resource does with the deployer's credentials what no rule can see",
    remedy="Write the resource itself, so that the rules can read it; or write an exception for this one resource.",
    source=DOCS,
    severity=Severity.CRITICAL,
)
def runs_nothing(checked: CheckedResource) -> Iterator[str]:
    """No type that runs code; rule R09 refuses a program after the rendering of a Helm chart."""
    if runs_code(checked.type):
        yield f"{checked.type} runs code at deployment, with the credentials of whoever deploys"


@stack_rule(
    "H07",
    "pulumi-provider-keeps-its-guards",
    demands="objects of Kubernetes and GitLab go through the settings' cluster and instance, by an explicit provider with the program's options",
    stops="A25: objects land in another cluster or instance, or are changed past field managers and certificates",
    remedy="Give the resource a provider of components/providers.py, and leave its options as they are there.",
    settings=("gitlab.url",),
    source=DOCS,
)
def providers_keep_their_guards(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Explicit providers, with the options that follow from the settings."""
    for resource in stack.index.resources:
        implicit = not resource.provider or "::default" in resource.provider
        if resource.type.startswith(("kubernetes:", "gitlab:")) and implicit and not runs_code(resource.type):
            yield resource.urn, "the resource has no explicit provider: the shell decides its cluster or instance"
    settings = stack.run.platform_settings
    for provider in stack.of(KUBERNETES_PROVIDER, GITLAB_PROVIDER):
        if settings is None:
            yield provider.urn, "the foundation has neither a cluster nor a GitLab instance"
        elif provider.type == GITLAB_PROVIDER:
            yield from ((provider.urn, text) for text in _gitlab_options(provider, settings))
        else:
            yield from ((provider.urn, text) for text in _kubernetes_options(stack, provider, settings))


def _gitlab_options(provider: CheckedResource, settings: Settings) -> Iterator[str]:
    for key, value in provider.root.entries():
        if key == "baseUrl" and not value.absent:
            if value.text() not in {api_url(settings.gitlab.url), None}:
                yield f"baseUrl is not that of {settings.gitlab.url}"
        elif key not in HARMLESS_OPTIONS and not value.absent:
            yield f"{key} is set: token and certificates come from the deployer's environment, not from the program"


def _kubernetes_options(stack: CheckedStack, provider: CheckedResource, settings: Settings) -> Iterator[str]:
    for flag in KUBERNETES_FLAGS:
        if provider[flag].flag(default=False) is False:
            yield f"{flag} is not on: an update replaces objects, or overwrites fields of other managers"
    for key, value in provider.root.entries():
        if key not in {"kubeconfig", "clusterIdentifier", *KUBERNETES_FLAGS, *HARMLESS_OPTIONS} and not value.absent:
            yield f"{key} is set, which components/providers.py leaves out"
    outputs = [cluster.resource.outputs for cluster in stack.of(CLUSTER) if cluster.resource.outputs.get("endpoint")]
    if "kubeconfig" in provider.resource.inputs and (not isinstance(provider["kubeconfig"].value, str) or not outputs):
        stack.undecide(provider.urn, "kubeconfig")
        return
    expected = [
        kubeconfig(
            name=settings.names.cluster,
            endpoint=output["endpoint"],
            certificate_authority=(output.get("certificateAuthority") or {}).get("data"),
            region=settings.organization.region,
            profile=f"platform-{settings.platform.account}",
        )
        for output in outputs
    ]
    if decode_json(provider["kubeconfig"].text()) not in expected:
        yield "kubeconfig is not that of this stack's cluster, as components/documents/cluster.py writes it"


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
