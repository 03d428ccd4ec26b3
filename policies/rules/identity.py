"""Rules of how pods get their AWS identity, and of trusts that involve more than one resource."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulumi_policy import Severity

from access.globs import is_pattern
from access.profiles import UnreadableConfigError, differences, expected_profiles, read_profiles
from components.documents.machines.user_data import ETC, files_of
from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.names import (
    AWS_CONFIG_MAP,
    MANAGER_SERVICE_ACCOUNT,
    namespace_jobs,
    namespace_manager,
)
from config.runners import of_kubernetes
from policies.expected_machines import machine_kinds
from policies.expected_trust import gitlab_host, infrastructure_roles, job_hosts
from policies.rule import ROLE_SETTINGS, resource_rule, stack_rule
from policies.runner_config import RunnerConfig
from policies.statements import (
    TRUST,
    Grant,
    allow_statements,
    condition_values,
    covers,
    grants_of,
    known_texts,
    name_of,
    principals_of,
    roles_by_arn,
)
from policies.type_tokens import (
    BINDINGS,
    CLUSTER,
    CONFIG_MAP,
    LAUNCH_TEMPLATE,
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
    gitlab = stack.run.settings.gitlab.url
    issuers = {_issuer(cluster) for cluster in stack.of(CLUSTER)}
    providers: set[tuple[str, str]] = set()
    for provider in stack.of(OIDC_PROVIDER):
        url = provider["url"].text()
        if url is None:
            continue
        providers.add((provider.account, url.removeprefix("https://")))
        if url != gitlab and url not in issuers:
            yield provider.urn, f"url is {url}, which is neither the issuer of this stack's cluster nor {gitlab}"
        audience = gitlab if url == gitlab else WEB_IDENTITY_AUDIENCE
        audiences = provider["clientIdLists"]
        if not audiences.unknown and audiences.texts() != [audience]:
            yield provider.urn, f"clientIdLists is {', '.join(audiences.texts()) or 'empty'}, not exactly {audience}"
    for role in stack.of(ROLE):
        for statement in allow_statements(role[TRUST]):
            for arn in principals_of(statement, "Federated", role[TRUST]):
                if not _in_account_of(role, arn, providers, gitlab_host(stack.run)):
                    text = f"{name_of(statement)} trusts {arn}, which is not a provider of this stack in the role's account"
                    yield role.urn, text


def _issuer(cluster: CheckedResource) -> str:
    outputs = cluster.resource.outputs.get("identities")
    try:
        return str(outputs[0]["oidcs"][0]["issuer"])  # type: ignore[index]  # a missing part is caught
    except (IndexError, KeyError, TypeError):
        return ""


def _in_account_of(role: CheckedResource, arn: str, providers: set[tuple[str, str]], gitlab: str) -> bool:
    """Whether a provider is in a role's account: one of the stack, or GitLab's, which the foundation makes in each account."""
    prefix, _, host = arn.partition(":oidc-provider/")
    account = prefix.rpartition(":")[2]
    return account == role.account and (host == gitlab or (account, host) in providers)


@stack_rule(
    "T08",
    "kubernetes-service-account-hands-out-its-own-role",
    demands="a manager's service account is annotated with its own role, and no other service account with any role",
    stops="A03, A12: a pod that may use a service account gets a role that is not its own; a webhook acts for job pods",
    remedy="Leave the annotation to components/runner_class.py; jobs get their identity from the patch.",
    source=f"{EKS_GUIDE}; CIS EKS 5.2.1",
    severity=Severity.CRITICAL,
)
def own_roles(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Annotations of service accounts, and no pod identity associations."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    home, names = settings.platform_account.id, settings.names
    manager_roles = {
        namespace_manager(name): names.role_arn(home, names.manager_role(name))
        for name in of_kubernetes(settings.runners)
    }
    for account in stack.of(SERVICE_ACCOUNT):
        metadata = account["metadata"]
        annotation = metadata["annotations"][ROLE_ANNOTATION]
        if annotation.absent:
            continue
        arn, expected = annotation.text(), manager_roles.get(metadata["namespace"].text() or "")
        if metadata["name"].text() != MANAGER_SERVICE_ACCOUNT or expected is None:
            yield account.urn, f"{ROLE_ANNOTATION} is set, and this is not the service account of a manager"
        elif arn not in {expected, None}:
            yield account.urn, f"{ROLE_ANNOTATION} is {arn}; this service account's role is {expected}"
    for association in stack.of(POD_IDENTITY):
        yield association.urn, "a pod identity association gives pods a role without the trust that these rules check"


@stack_rule(
    "T11",
    "iam-policy-assumes-exact-roles",
    demands="sts:AssumeRole names exact roles of this stack, and each of them trusts exactly that caller",
    stops="A09, A12: a broad permission meets a broad trust",
    remedy="Make both sides from Settings.classes_of, as assume_roles in components/documents/trust.py does.",
    settings=ROLE_SETTINGS,
    source="https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic-cross-account.html",
    severity=Severity.CRITICAL,
)
def both_sides_are_exact(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No wildcard, no NotResource, and a trust of the same caller."""
    roles = roles_by_arn(stack)
    for grant in grants_of(stack):
        if not covers(grant.statement, ASSUME, grant.field):
            continue
        if grant.resource.type == POLICY:
            text = f"{grant.name} lets every role with this policy assume roles: write the statement into one role"
            yield grant.urn, text
            continue
        if grant.statement.not_resources or grant.statement.not_actions:
            yield grant.urn, f"{grant.name} has NotResource or NotAction: it assumes every other role"
        for arn in known_texts(grant.statement.resources, grant.field):
            yield from ((grant.urn, f"{grant.name} {text}") for text in _assumed_role(arn, grant, roles))


def _assumed_role(arn: str, grant: Grant, roles: dict[str, CheckedResource]) -> Iterator[str]:
    if is_pattern(arn):
        yield f"assumes {arn}, a pattern"
        return
    role = roles.get(arn)
    if role is None:
        yield f"assumes {arn}, which is not a role of this stack"
        return
    trusted = {
        caller
        for statement in allow_statements(role[TRUST])
        for caller in condition_values(statement, "ArnEquals", "aws:PrincipalArn", role[TRUST]) or ()
    }
    holder = {
        holder_arn
        for holder_arn, holder in roles.items()
        if holder["name"].text() == grant.holder and holder.account == grant.account
    }
    if not role[TRUST].unknown and not holder & trusted:
        yield f"assumes {arn}, whose trust does not name {grant.holder}"


@stack_rule(
    "T12",
    "iam-role-of-machinery-reaches-nothing",
    demands="roles of the control plane, nodes, managers and logs assume no role, and a machine that runs jobs only its class's job role",
    stops="A01, A09: an attacker with a node's or a manager's credentials reaches an account",
    remedy="Remove the permission; only job roles deploy.",
    source=f"{EKS_GUIDE}; CIS EKS 5.1.3",
    severity=Severity.CRITICAL,
)
def machinery_reaches_nothing(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """No sts:AssumeRole in these roles, and one in those of machines that run jobs."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    machinery, hosts = infrastructure_roles(settings), job_hosts(settings)
    home, names = settings.platform_account.id, settings.names
    for grant in grants_of(stack):
        if grant.holder not in {*machinery, *hosts} or not covers(grant.statement, ASSUME, grant.field):
            continue
        if grant.holder in machinery:
            yield grant.urn, f"{grant.name} lets {grant.holder} assume roles"
        elif grant.statement.resources != (own := (names.role_arn(home, hosts[grant.holder]),)):
            yield grant.urn, f"{grant.name} lets {grant.holder} assume more than {own[0]}"


@resource_rule(
    "T13",
    "kubernetes-config-map-profiles-match-the-matrix",
    [CONFIG_MAP, LAUNCH_TEMPLATE],
    demands="the AWS profiles of a class are those of the settings: its own role, the delegated roles of its accounts, and no more",
    stops="A12, A25: a profile leads to another role, level or account than its name says, takes a job's token, or holds a lasting key",
    remedy="Leave the file to components/documents/profiles.py, and change `accounts` of the class in the stack file.",
    settings=("runners.{runner}.accounts", "runners.{runner}"),
    source="https://docs.aws.amazon.com/sdkref/latest/guide/feature-assume-role-credentials.html",
    severity=Severity.CRITICAL,
)
def profiles_match(resource: CheckedResource) -> Iterator[str]:
    """One file in the ConfigMap or in the user data, with exactly the profiles of the class."""
    settings = resource.run.platform_settings
    if settings is not None:
        of_type = _profiles_of_machine if resource.type == LAUNCH_TEMPLATE else _profiles_of_config_map
        yield from of_type(resource, settings)


def _profiles_of_machine(template: CheckedResource, settings: Settings) -> Iterator[str]:
    kind, data = machine_kinds(settings).get(template["name"].text() or ""), template["userData"].text()
    if kind is None or not kind.holds_profiles or data is None:
        return
    try:
        text = files_of(data).get(f"{ETC}/aws-config", "")
    except (ValueError, TypeError, AttributeError):
        yield "userData cannot be read, and the AWS config of its jobs is in it"
        return
    yield from _deviating("userData aws-config", text, settings, kind.runner_class.name)


def _profiles_of_config_map(config_map: CheckedResource, settings: Settings) -> Iterator[str]:
    metadata = config_map["metadata"]
    if metadata["name"].text() != AWS_CONFIG_MAP:
        return
    classes = {namespace_jobs(name): name for name in of_kubernetes(settings.runners)}
    namespace = metadata["namespace"].text() or ""
    runner_class = classes.get(namespace)
    if runner_class is None:
        yield f"{AWS_CONFIG_MAP} is in namespace {namespace!r}, which is not the jobs' namespace of a class"
        return
    files = [*config_map["data"].entries(), *config_map["binaryData"].entries()]
    yield from (f"{field.path} is a further file" for _, field in files if field.path != "data.config")
    text = config_map["data"]["config"].text()
    if text is not None:
        yield from _deviating("data.config", text, settings, runner_class)


def _deviating(path: str, text: str, settings: Settings, runner_class: str) -> Iterator[str]:
    """Yield what differs in the AWS config of a class."""
    try:
        profiles = read_profiles(text)
    except UnreadableConfigError as error:
        yield f"{path} {error}"
        return
    deviations = differences(profiles, expected_profiles(settings, runner_class))
    yield from (f"{path} of class {runner_class}: {deviation}" for deviation in deviations)


@stack_rule(
    "R06",
    "kubernetes-namespace-holds-one-class",
    demands="no two classes share a namespace, and a manager makes pods in its own class's namespace only",
    stops="A03, A20: the right to make pods in a namespace is the right to use every service account in it",
    remedy="Keep one jobs namespace for each class, and bind a manager only there (components/runner_class.py).",
    settings=("runners.{runner}",),
    source="https://kubernetes.io/docs/concepts/security/rbac-good-practices/",
    severity=Severity.CRITICAL,
)
def one_class_a_namespace(stack: CheckedStack) -> Iterator[tuple[str, str]]:
    """Releases put jobs into separate namespaces; no binding crosses a class."""
    settings = stack.run.platform_settings
    if settings is None:
        return
    releases: dict[str, str] = {}
    for release in stack.of(RELEASE):
        field = RunnerConfig(release).setting("namespace")
        namespace = None if field.absent else field.text()
        if namespace is None:
            continue
        first = releases.setdefault(namespace, release.urn)
        if first != release.urn:
            yield release.urn, f"its jobs share namespace {namespace} with the jobs of {first.rpartition('::')[2]}"
    jobs_namespaces = {namespace_manager(name): namespace_jobs(name) for name in settings.runners}
    for binding in stack.of(*BINDINGS):
        yield from _binding(binding, jobs_namespaces)


def _binding(binding: CheckedResource, jobs_namespaces: dict[str, str]) -> Iterator[tuple[str, str]]:
    namespaces = {*jobs_namespaces, *jobs_namespaces.values()}
    bound = binding["metadata"]["namespace"].text("")
    for subject in binding["subjects"].items():
        origin = subject["namespace"].text("")
        if origin in namespaces and bound is not None and jobs_namespaces.get(origin or "") != bound:
            text = f"{subject.path} lets a service account of {origin} act in {bound or 'the whole cluster'}"
            yield binding.urn, text
