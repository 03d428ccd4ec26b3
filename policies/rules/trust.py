"""Rules of trust documents: who may assume a role, one statement at a time. What all trusts allow together is computed in `access`.

Conditions narrow a trust only with the plain operators: `IfExists` and `ForAllValues` hold when the key is absent, and a negated operator
admits everybody else. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.capabilities import Level
from config.settings import Settings
from policies.expected_trust import (
    gitlab_host,
    gitlab_subjects,
    service_accounts,
    trusted_roles,
    trusted_services,
)
from policies.rule import resource_rule
from policies.statements import (
    TRUST,
    allow_statements,
    condition_values,
    covers,
    has_wildcard,
    name_of,
    principals_of,
    unreadable,
)
from policies.type_tokens import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from access.policy_documents import Statement
    from policies.rule import CheckedResource

IAM_GUIDE = "https://docs.aws.amazon.com/IAM/latest/UserGuide/"
EKS_GUIDE = "https://docs.aws.amazon.com/eks/latest/best-practices/identity-and-access-management.html"
ACCOUNT = re.compile(r"^(?:arn:[a-z-]+:iam::)?(\d{12})(?::root)?$")
ROLE_ARN = re.compile(r"^arn:[a-z-]+:iam::(\d{12}):role/[\w+=,.@/-]+$", re.ASCII)
WEB_IDENTITY = "sts:AssumeRoleWithWebIdentity"
ASSUME_ACTIONS = ("sts:assumerole", "sts:assumerolewithwebidentity")
PRINCIPAL_ARN = "aws:PrincipalArn"
SERVICES_OF_ONE_ACCOUNT = ["ec2", "eks"]
"""Services that act only for the account that owns the role."""


@resource_rule(
    "T01",
    "iam-role-trusts-no-anonymous-principal",
    [ROLE],
    demands="a trust names its principals one by one",
    stops="A06, A09: anybody in AWS assumes the role",
    remedy="Name the account, and the roles in it with ArnEquals on aws:PrincipalArn (components/documents/trust.py).",
    source="CKV_AWS_60, CKV_AWS_283, IAM-STS-2",
    severity=Severity.CRITICAL,
)
def no_anonymous_principal(role: CheckedResource) -> Iterator[str]:
    """No `*` in any form, no NotPrincipal, no wildcard in an ARN, and a document that can be read."""
    trust = role[TRUST]
    if (reason := unreadable(trust)) is not None:
        yield f"{TRUST} is not a policy document: {reason}"
    for statement in allow_statements(trust):
        if statement.not_principals:
            yield f"{name_of(statement)} has NotPrincipal: it trusts everybody else"
        elif not statement.principals:
            yield f"{name_of(statement)} names no principal"
        for kind in sorted({principal.kind for principal in statement.principals}):
            for principal in principals_of(statement, kind, trust):
                if has_wildcard(principal):
                    yield f"{name_of(statement)} trusts {kind}:{principal}, a wildcard"


@resource_rule(
    "T02",
    "iam-role-trusts-no-bare-account",
    [ROLE],
    demands="a trust in an account names exact roles of that account, by ArnEquals on aws:PrincipalArn",
    stops="A09, A13, A27: any principal of the account with a broad sts:AssumeRole assumes the role; an ExternalId is not a secret",
    remedy="Add ArnEquals with the exact role ARNs, as roles_of_account in components/documents/trust.py does.",
    source=f"{IAM_GUIDE}reference_policies_elements_principal.html",
    severity=Severity.CRITICAL,
)
def no_bare_account(role: CheckedResource) -> Iterator[str]:
    """Accounts only together with exact roles; no users, sessions or other names."""
    trust = role[TRUST]
    for statement in allow_statements(trust):
        for principal in principals_of(statement, "AWS", trust):
            account = ACCOUNT.match(principal)
            if account is not None:
                callers = condition_values(statement, "ArnEquals", PRINCIPAL_ARN, trust)
                if callers is None:
                    yield f"{name_of(statement)} trusts the whole account {account.group(1)}"
                for arn in callers or ():
                    if not _role_of(arn, account.group(1)):
                        yield f"{name_of(statement)} narrows account {account.group(1)} to {arn}, which is not an exact role of it"
            elif not ROLE_ARN.match(principal) and not has_wildcard(principal):
                yield f"{name_of(statement)} trusts {principal}, which is neither an account nor a role"


def _role_of(arn: str, account: str) -> bool:
    match = ROLE_ARN.match(arn)
    return match is not None and match.group(1) == account


@resource_rule(
    "T03",
    "iam-role-trusts-known-principals",
    [ROLE],
    demands="a role trusts the roles that the settings let in, and the one service that it is made for, for this account only",
    stops="A12, A15: another role, the platform's own or another company's account assumes the role; a service acts for somebody else's resource",
    remedy="Change accounts or runners in the stack file; policies/expected_trust.py lists which role trusts which roles and service.",
    source=f"{IAM_GUIDE}confused-deputy.html",
)
def known_principals(role: CheckedResource) -> Iterator[str]:
    """Accounts of the settings, the roles that may come in, and the role's own service."""
    trust, ids, name = role[TRUST], set(role.run.account_ids.values()), role["name"].text() or ""
    own_service = trusted_services(role.run.settings).get(name)
    callers = trusted_roles(role.run.settings).get((role.account, name), set())
    for statement in allow_statements(trust):
        for principal in principals_of(statement, "AWS", trust):
            account = ACCOUNT.match(principal) or ROLE_ARN.match(principal)
            if account is not None and account.group(1) not in ids:
                yield f"{name_of(statement)} trusts account {account.group(1)}, which is not in the settings"
            exact = (
                [principal]
                if ROLE_ARN.match(principal)
                else condition_values(statement, "ArnEquals", PRINCIPAL_ARN, trust)
            )
            for arn in sorted(set(exact or ()) - callers):
                yield f"{name_of(statement)} trusts {arn}, which the settings do not let in"
        for service in principals_of(statement, "Service", trust):
            short = service.partition(".")[0]
            if service != own_service:
                yield f"{name_of(statement)} trusts the service {service}; this role is for {own_service or 'no service'}"
            elif short not in SERVICES_OF_ONE_ACCOUNT and not _for_own_account(statement, role):
                yield (
                    f"{name_of(statement)} lets {service} act for any account: "
                    "neither aws:SourceAccount nor aws:SourceArn names the role's account"
                )


def _for_own_account(statement: Statement, role: CheckedResource) -> bool:
    """Whether conditions limit a service to resources of the role's account."""
    accounts = condition_values(statement, "StringEquals", "aws:SourceAccount", role[TRUST])
    if accounts:
        return set(accounts) <= {role.account}
    arns = [
        arn
        for operator in ("ArnEquals", "ArnLike", "StringEquals", "StringLike")
        for arn in condition_values(statement, operator, "aws:SourceArn", role[TRUST]) or ()
    ]
    return bool(arns) and all(arn.split(":")[4:5] == [role.account] for arn in arns)


@resource_rule(
    "T04",
    "iam-role-pins-oidc-subject-and-audience",
    [ROLE],
    demands="a trust in tokens pins audience and subject of their issuer with StringEquals",
    stops="A06, A07: every service account of the cluster, or every project of a shared GitLab, assumes the role",
    remedy="Pin <issuer>:aud and <issuer>:sub with StringEquals (components/documents/trust.py).",
    source=EKS_GUIDE,
    severity=Severity.CRITICAL,
)
def subject_and_audience(role: CheckedResource) -> Iterator[str]:
    """`aud` and `sub` of the statement's issuer, with the plain operator."""
    trust = role[TRUST]
    for statement in allow_statements(trust):
        issuers = principals_of(statement, "Federated", trust)
        if covers(statement, WEB_IDENTITY, trust) and not issuers and statement.principals:
            yield f"{name_of(statement)} allows {WEB_IDENTITY} and names no OIDC provider"
        for host in map(_host, issuers):
            audience = WEB_IDENTITY_AUDIENCE
            if host == gitlab_host(role.run):
                audience = role.run.settings.gitlab.url
            if condition_values(statement, "StringEquals", f"{host}:aud", trust) != [audience]:
                yield f"{name_of(statement)} does not pin {host}:aud to {audience} with StringEquals"
            subjects = condition_values(statement, "StringEquals", f"{host}:sub", trust)
            if subjects is None and not _may_use_pattern(role, host):
                yield f"{name_of(statement)} does not pin {host}:sub with StringEquals"


def _host(provider: str) -> str:
    return provider.partition(":oidc-provider/")[2]


def _may_use_pattern(role: CheckedResource, host: str) -> bool:
    """Whether a role may name its subject by a pattern: a GitLab role of level open may, if the settings do; T07 compares them."""
    settings = role.run.settings
    if not isinstance(settings, Settings) or host != gitlab_host(role.run):
        return False
    roles = {settings.names.gitlab_role(name): gitlab_role for name, gitlab_role in settings.gitlab_oidc.items()}
    gitlab_role = roles.get(role["name"].text() or "")
    return gitlab_role is not None and gitlab_role.level is Level.OPEN


@resource_rule(
    "T05",
    "iam-role-names-one-service-account",
    [ROLE],
    demands="a role of the cluster's issuer trusts exactly the one service account that it is made for",
    stops="A03, A07: a wildcard namespace or account, or another class's pods, assume the role",
    remedy="Name system:serviceaccount:<namespace>:<account> of the role's own class.",
    source=EKS_GUIDE,
    severity=Severity.CRITICAL,
)
def one_service_account(role: CheckedResource) -> Iterator[str]:
    """`sub` is the role's declared service account, and nothing else."""
    trust, settings = role[TRUST], role.run.platform_settings
    declared = service_accounts(settings) if settings is not None else {}
    account = declared.get(role["name"].text() or "")
    for statement in allow_statements(trust):
        for host in map(_host, principals_of(statement, "Federated", trust)):
            if host == gitlab_host(role.run):
                continue
            if account is None:
                yield f"{name_of(statement)} trusts tokens of {host}, and no role of this name is in the settings"
                continue
            subjects = [
                subject
                for condition in statement.conditions
                if condition.key == f"{host}:sub".lower()
                for subject in condition_values(statement, condition.operator, condition.key, trust) or ()
            ]
            if wrong := [subject for subject in subjects if subject != account.subject]:
                yield f"{name_of(statement)} trusts {wrong[0]}; this role is for {account.subject}"


@resource_rule(
    "T07",
    "iam-role-names-one-gitlab-ref",
    [ROLE],
    demands="a trust in GitLab names the configured instance, and the project and ref from the settings",
    stops="A08, A18: a merge request's token, or another project's, assumes the role",
    remedy="Change gitlab_oidc in the stack file; the trust follows from it.",
    settings=("gitlab_oidc.{entry}", "platform.project"),
    source="https://docs.gitlab.com/ci/cloud_services/aws/",
    severity=Severity.CRITICAL,
)
def one_gitlab_ref(role: CheckedResource) -> Iterator[str]:
    """The subject is exactly the declared one; only the cluster and GitLab are issuers."""
    trust, host = role[TRUST], gitlab_host(role.run)
    declared = gitlab_subjects(role.run.settings).get(role["name"].text() or "")
    for statement in allow_statements(trust):
        for issuer in map(_host, principals_of(statement, "Federated", trust)):
            if issuer.startswith("oidc.eks."):
                continue
            if issuer != host:
                name = issuer or "of a provider that is not OIDC"
                yield f"{name_of(statement)} trusts the issuer {name}, which is neither the cluster's nor {host}"
                continue
            subjects = {
                subject
                for operator in ("StringEquals", "StringLike")
                for subject in condition_values(statement, operator, f"{host}:sub", trust) or ()
            }
            if declared is None:
                yield f"{name_of(statement)} trusts GitLab, and no GitLab role of this name is in the settings"
            elif wrong := sorted(subjects - {declared}):
                yield f"{name_of(statement)} trusts {wrong[0]}; the settings say {declared}"


@resource_rule(
    "T09",
    "iam-role-trusts-one-action",
    [ROLE],
    demands="a trust allows only the action with which its principal assumes the role",
    stops="A14: a job sets its own session tags, or assumes the role by another action",
    remedy="Allow sts:AssumeRole, or for tokens sts:AssumeRoleWithWebIdentity, and nothing else.",
    source=f"{IAM_GUIDE}id_session-tags.html",
)
def one_action(role: CheckedResource) -> Iterator[str]:
    """One exact action; `sts:TagSession` only for EKS, which needs it."""
    trust = role[TRUST]
    for statement in allow_statements(trust):
        if statement.not_actions:
            yield f"{name_of(statement)} has NotAction: it allows every other action"
        services = {service.partition(".")[0] for service in principals_of(statement, "Service", trust)}
        eks_only = services == {"eks"} and len(statement.principals) == len(services)
        expected = {*ASSUME_ACTIONS, "sts:tagsession"} if eks_only else set(ASSUME_ACTIONS)
        actions = {action.lower() for action in statement.actions if isinstance(action, str)}
        if any(not isinstance(action, str) for action in statement.actions):
            trust.undecide()
        if extra := sorted(actions - expected):
            yield f"{name_of(statement)} allows {', '.join(extra)}"
