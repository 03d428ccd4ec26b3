"""Rules of how identities are handed to pods, and of trusts that more than one resource makes."""

from __future__ import annotations

import configparser
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.globs import is_pattern
from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import (
    AWS_CONFIG_MAP,
    MANAGER_SERVICE_ACCOUNT,
    namespace_jobs,
    namespace_manager,
)
from policies.expected_trust import gitlab_host, infrastructure_roles
from policies.rule import OWNER_SETTINGS, Option, resource_rule, stack_rule
from policies.runner_config import RunnerConfig
from policies.statements import (
    TRUST,
    Grant,
    allowed,
    grants_of,
    known,
    place,
    principals,
    roles_by_arn,
    speaks_of,
    values_of,
)
from policies.type_tokens import (
    ATTACHMENT,
    BINDINGS,
    CLUSTER,
    CONFIG_MAP,
    OIDC_PROVIDER,
    POD_IDENTITY,
    POLICY,
    RELEASE,
    ROLE,
    SERVICE_ACCOUNT,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from config.settings import Settings
    from policies.rule import CheckedResource
    from policies.stack import CheckedStack

EKS_GUIDE = "https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html"
ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
ASSUME = "sts:AssumeRole"
PROFILE_KEYS = frozenset(
    {"role_arn", "web_identity_token_file", "source_profile", "role_session_name", "region", "sts_regional_endpoints"}
)


@stack_rule(
    "T06",
    "iam-oidc-provider-is-ours",
    demands="the only issuers are the stack's own cluster and the configured GitLab, each with one audience",
    stops="A08: tokens of a foreign or abandoned issuer open a role",
    remedy="Take the issuer from the cluster (components/cluster.py), GitLab's from the settings.",
    settings=("gitlab.url",),
    source=EKS_GUIDE,
    severity=Severity.CRITICAL,
)
def providers_are_ours(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Providers are the cluster's and GitLab's; roles trust providers of their own account."""
    gitlab = stack.surroundings.settings.gitlab.url
    issuers = {_issuer(cluster) for cluster in stack.of(CLUSTER)}
    of_stack: set[tuple[str, str]] = set()
    for provider in stack.of(OIDC_PROVIDER):
        url = provider["url"].text()
        if url is None:
            continue
        of_stack.add((provider.seen.account, url.removeprefix("https://")))
        if url != gitlab and url not in issuers:
            yield provider.urn, f"url is {url}, which is neither the issuer of this stack's cluster nor {gitlab}"
        audience = gitlab if url == gitlab else WEB_IDENTITY_AUDIENCE
        ids = provider["clientIdLists"]
        if not ids.unknown and ids.texts() != [audience]:
            yield provider.urn, f"clientIdLists is not exactly {audience}"
    for role in stack.of(ROLE):
        for statement in allowed(role[TRUST]):
            for arn in principals(statement, "Federated", role[TRUST]):
                if not _is_here(arn, role, of_stack, gitlab_host(stack.surroundings)):
                    yield (
                        role.urn,
                        f"{place(statement)} trusts {arn}, which is no provider of this stack in the role's account",
                    )


def _issuer(cluster: CheckedResource) -> str:
    outputs = cluster.seen.outputs.get("identities")
    try:
        return str(outputs[0]["oidcs"][0]["issuer"])  # type: ignore[index]  # whatever is missing is caught
    except (IndexError, KeyError, TypeError):
        return ""


def _is_here(arn: str, role: CheckedResource, of_stack: set[tuple[str, str]], gitlab: str) -> bool:
    head, _, host = arn.partition(":oidc-provider/")
    account = head.rpartition(":")[2]
    # GitLab's provider is the foundation's, once per account.
    return account == role.seen.account and (host == gitlab or (account, host) in of_stack)


@stack_rule(
    "T08",
    "kubernetes-service-account-hands-out-its-own-role",
    demands="a manager's account is annotated with its own role, and no other account with any",
    stops="A03, A12: a pod that may use an account gets a role that is not its own; a webhook acts for job pods",
    remedy="Leave the annotation to components/runner_class.py; jobs get their identity from the patch.",
    source=f"{EKS_GUIDE}; CIS EKS 5.2.1",
    severity=Severity.CRITICAL,
)
def own_roles(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Annotations of service accounts, and no pod identity associations."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    home, names = settings.platform_account.id, settings.names
    expected = {namespace_manager(each): names.role_arn(home, names.manager_role(each)) for each in settings.runners}
    for account in stack.of(SERVICE_ACCOUNT):
        metadata = account["metadata"]
        annotation = metadata["annotations"][ROLE_ANNOTATION]
        if annotation.absent:
            continue
        arn, wanted = annotation.text(), expected.get(metadata["namespace"].text() or "")
        if metadata["name"].text() != MANAGER_SERVICE_ACCOUNT or wanted is None:
            yield account.urn, f"{ROLE_ANNOTATION} is set, and only managers' accounts have one"
        elif arn not in {wanted, None}:
            yield account.urn, f"{ROLE_ANNOTATION} is {arn}; this account's role is {wanted}"
    for association in stack.of(POD_IDENTITY):
        yield association.urn, "a pod identity association hands out a role beside the trusts that are judged here"


@stack_rule(
    "T11",
    "iam-policy-assumes-exact-roles",
    demands="sts:AssumeRole names exact roles of this stack, and each of them trusts exactly that caller",
    stops="A09, A12: a broad permission here meets a broad trust there",
    remedy="Both sides come from one list: Settings.classes_of (components/documents/trust.py assume_roles).",
    settings=OWNER_SETTINGS,
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html",
    severity=Severity.CRITICAL,
)
def both_sides_are_exact(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No wildcard, no NotResource, and the other side agrees."""
    roles = roles_by_arn(stack)
    for grant in grants_of(stack):
        if not speaks_of(grant.statement, ASSUME, grant.field):
            continue
        if grant.case.type == POLICY:
            yield (
                grant.urn,
                f"{place(grant.statement)} lets whoever carries this policy assume roles: write it into one role",
            )
            continue
        if grant.statement.not_resources or grant.statement.not_actions:
            yield grant.urn, f"{place(grant.statement)} assumes every role but some"
        for arn in known(grant.statement.resources, grant.field):
            yield from ((grant.urn, f"{place(grant.statement)} {text}") for text in _target(arn, grant, roles))


def _target(arn: str, grant: Grant, roles: dict[str, CheckedResource]) -> Iterator[str]:
    if is_pattern(arn):
        yield f"assumes {arn}, a pattern"
        return
    role = roles.get(arn)
    if role is None:
        yield f"assumes {arn}, which is no role of this stack"
        return
    callers = [
        caller
        for statement in allowed(role[TRUST])
        for caller in values_of(statement, "ArnEquals", "aws:PrincipalArn", role[TRUST]) or ()
    ]
    own = [
        each for each, its in roles.items() if its["name"].text() == grant.holder and its.seen.account == grant.account
    ]
    if not role[TRUST].unknown and not set(own) & set(callers):
        yield f"assumes {arn}, which does not name {grant.holder}"


@stack_rule(
    "T12",
    "iam-role-of-machinery-reaches-nothing",
    demands="roles of control plane, nodes, managers and logs assume no role, and carry only the policies that they need",
    stops="A01, A09: whoever gets at a node's or a manager's credentials reaches an account",
    remedy="Drop the permission; deployments are for job roles.",
    source=f"{EKS_GUIDE}; CIS EKS 5.1.3",
    severity=Severity.CRITICAL,
    options={
        "policies": Option.names(
            "AWS managed policies that nodes may carry",
            ["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"],
        )
    },
)
def machinery_reaches_nothing(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No sts:AssumeRole in machinery; nodes with the two policies that they need."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    machinery = infrastructure_roles(settings)
    for grant in grants_of(stack):
        if grant.holder in machinery and speaks_of(grant.statement, ASSUME, grant.field):
            yield grant.urn, f"{place(grant.statement)} lets {grant.holder} assume roles"
    nodes = settings.names.node_role()
    for attachment in (each for each in stack.of(ATTACHMENT) if each["role"].text() == nodes):
        head, _, policy = (attachment["policyArn"].text() or "").rpartition("/")
        if policy and not (policy in stack.option("policies") and head.endswith(":iam::aws:policy")):
            yield attachment.urn, f"nodes carry {policy}, which is not listed"


@resource_rule(
    "T13",
    "kubernetes-config-map-profiles-match-the-matrix",
    [CONFIG_MAP],
    demands="the AWS profiles of a class name its own role and the delegated roles of its accounts, and no keys",
    stops="A12, A25: a profile points at a role of another level or account, or holds a lasting key",
    remedy="Leave the file to components/documents/profiles.py.",
    settings=("runners.{runner}.accounts", "runners.{runner}"),
    source="https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html",
)
def profiles_match(config_map: CheckedResource) -> Iterator[str]:
    """Every profile's role is within the class's reach; only keys of role profiles."""
    settings, metadata = config_map.surroundings.runners, config_map["metadata"]
    if settings is None or metadata["name"].text() != AWS_CONFIG_MAP:
        return
    classes = {namespace_jobs(each): each for each in settings.runners}
    runner_class = classes.get(metadata["namespace"].text() or "")
    if runner_class is None:
        yield f"{AWS_CONFIG_MAP} is in a namespace of no class's jobs"
        return
    text = config_map["data"]["config"].text()
    if text is None:
        return
    parser = configparser.ConfigParser(interpolation=None, default_section="none at all")
    try:
        parser.read_string(text)
    except configparser.Error:
        yield "data.config is no AWS config file"
        return
    reach = _reach(settings, runner_class)
    for profile in parser.sections():
        its = parser[profile]
        if extra := sorted(set(its) - PROFILE_KEYS):
            yield f"[{profile}] has {', '.join(extra)}"
        if its.get("role_arn") not in reach:
            yield f"[{profile}] names a role that class {runner_class} may not assume"


def _reach(settings: Settings, runner_class: str) -> set[str]:
    names, level = settings.names, settings.runners[runner_class].level
    own = names.role_arn(settings.platform_account.id, names.job_role(runner_class))
    return {own} | {
        names.role_arn(each.id, names.delegated_role(level)) for each in settings.accounts_of(runner_class).values()
    }


@stack_rule(
    "R06",
    "kubernetes-namespace-holds-one-class",
    demands="no two classes share a namespace, and a manager makes pods in its own class's namespace only",
    stops="A03, A20: the right to make pods in a namespace is the right to use every service account in it",
    remedy="Keep one jobs namespace a class, and bind a manager only there (components/runner_class.py).",
    settings=("runners.{runner}",),
    source="https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
    severity=Severity.CRITICAL,
)
def one_class_a_namespace(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Releases put jobs into namespaces of their own; bindings cross no class."""
    settings = stack.surroundings.runners
    if settings is None:
        return
    taken: dict[str, str] = {}
    for release in stack.of(RELEASE):
        for field in RunnerConfig(release).everywhere("namespace"):
            namespace = field.text()
            if namespace is None:
                continue
            other = taken.setdefault(namespace, release.urn)
            if other != release.urn:
                yield release.urn, f"its jobs share namespace {namespace} with {other.rpartition('::')[2]}"
    homes = {namespace_manager(each): namespace_jobs(each) for each in settings.runners}
    places = {*homes, *homes.values()}
    for binding in stack.of(*BINDINGS):
        where = binding["metadata"]["namespace"].text("")
        for subject in binding["subjects"].items():
            comes_from = subject["namespace"].text("")
            if comes_from in places and where is not None and homes.get(comes_from or "") != where:
                yield (
                    binding.urn,
                    f"{subject.path} lets an account of {comes_from} act in {where or 'the whole cluster'}",
                )
