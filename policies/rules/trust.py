"""Rules of trust documents: who may assume a role, one statement at a time. What follows from all of them together is in `access`.

Conditions narrow only with the plain operators: `IfExists` and `ForAllValues` hold when the key is absent, and a negated operator admits
everybody else. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements_condition_operators.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pulumi_policy import Severity

from components.documents.trust import WEB_IDENTITY_AUDIENCE
from config.capabilities import Level
from config.settings import Settings
from policies.expected_trust import gitlab_host, gitlab_subjects, service_accounts
from policies.rule import Option, resource_rule
from policies.statements import TRUST, allowed, has_wildcard, place, principals, speaks_of, unreadable, values_of
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
KEYS_OF_SERVICES = ("aws:sourceaccount", "aws:sourcearn")
SERVICES_OF_ONE_ACCOUNT = ["ec2", "eks"]
"""Services that act for the account that owns the role and for nobody else."""


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
    field = role[TRUST]
    if (reason := unreadable(field)) is not None:
        yield f"{TRUST} is no policy document: {reason}"
    for statement in allowed(field):
        if statement.not_principals:
            yield f"{place(statement)} has NotPrincipal: everybody else is let in"
        elif not statement.principals:
            yield f"{place(statement)} names no principal"
        for kind in sorted({each.kind for each in statement.principals}):
            for principal in principals(statement, kind, field):
                if has_wildcard(principal):
                    yield f"{place(statement)} trusts {kind}:{principal}, a wildcard"


@resource_rule(
    "T02",
    "iam-role-trusts-no-bare-account",
    [ROLE],
    demands="a trust in an account names exact roles of it, by ArnEquals on aws:PrincipalArn",
    stops="A09, A13, A27: any principal of the account with a broad sts:AssumeRole comes in; an ExternalId is no secret",
    remedy="Add ArnEquals with the exact role ARNs, as components/documents/trust.py roles_of_account does.",
    source=f"{IAM_GUIDE}reference_policies_elements_principal.html",
    severity=Severity.CRITICAL,
)
def no_bare_account(role: CheckedResource) -> Iterator[str]:
    """Accounts only with exact roles of theirs; users, sessions and other names never."""
    field = role[TRUST]
    for statement in allowed(field):
        for principal in principals(statement, "AWS", field):
            account = ACCOUNT.match(principal)
            if account is not None:
                named = values_of(statement, "ArnEquals", "aws:PrincipalArn", field)
                if named is None:
                    yield f"{place(statement)} trusts the whole account {account.group(1)}"
                for arn in named or ():
                    if not _role_of(arn, account.group(1)):
                        yield f"{place(statement)} narrows account {account.group(1)} to {arn}, which is no exact role of it"
            elif not ROLE_ARN.match(principal) and not has_wildcard(principal):
                yield f"{place(statement)} trusts {principal}, which is neither an account nor a role"


def _role_of(arn: str, account: str) -> bool:
    found = ROLE_ARN.match(arn)
    return found is not None and found.group(1) == account


@resource_rule(
    "T03",
    "iam-role-trusts-known-principals",
    [ROLE],
    demands="principals are accounts of the settings, or listed services that act for one account only",
    stops="A15: a service acts for somebody else's resource (confused deputy), or a foreign account comes in",
    remedy="Trust accounts of the settings; give a service aws:SourceAccount or aws:SourceArn with StringEquals or ArnLike.",
    source=f"{IAM_GUIDE}confused-deputy.html",
    options={
        "services": Option.names(
            "services that a role may trust",
            ["ec2", "eks", "vpc-flow-logs"],
        )
    },
)
def known_principals(role: CheckedResource) -> Iterator[str]:
    """Listed accounts, listed services."""
    field, ids = role[TRUST], set(role.surroundings.account_ids.values())
    for statement in allowed(field):
        for principal in principals(statement, "AWS", field):
            found = ACCOUNT.match(principal) or ROLE_ARN.match(principal)
            if found is not None and found.group(1) not in ids:
                yield f"{place(statement)} trusts account {found.group(1)}, which the settings do not list"
        for service in principals(statement, "Service", field):
            short = service.partition(".")[0]
            if not service.endswith((".amazonaws.com", ".amazonaws.com.cn")) or short not in role.option("services"):
                yield f"{place(statement)} trusts the service {service}, which is not listed"
            elif short not in SERVICES_OF_ONE_ACCOUNT and not _one_account(statement, role):
                yield f"{place(statement)} lets {service} act for any account: no aws:SourceAccount and no aws:SourceArn of ours"


def _one_account(statement: Statement, role: CheckedResource) -> bool:
    own = {role.seen.account}
    accounts = values_of(statement, "StringEquals", "aws:SourceAccount", role[TRUST])
    if accounts:
        return set(accounts) <= own
    arns = [
        arn
        for operator in ("ArnEquals", "ArnLike", "StringEquals", "StringLike")
        for arn in values_of(statement, operator, "aws:SourceArn", role[TRUST]) or ()
    ]
    return bool(arns) and all(arn.split(":")[4:5] == [role.seen.account] for arn in arns)


@resource_rule(
    "T04",
    "iam-role-pins-oidc-subject-and-audience",
    [ROLE],
    demands="a trust in tokens pins audience and subject of its own issuer with StringEquals",
    stops="A06, A07: every service account of the cluster, or every project of a shared GitLab, assumes the role",
    remedy="Pin <issuer>:aud and <issuer>:sub with StringEquals (components/documents/trust.py).",
    source=EKS_GUIDE,
    severity=Severity.CRITICAL,
)
def subject_and_audience(role: CheckedResource) -> Iterator[str]:
    """`aud` and `sub` of the statement's own issuer, by the plain operator."""
    field = role[TRUST]
    for statement in allowed(field):
        issuers = principals(statement, "Federated", field)
        if speaks_of(statement, WEB_IDENTITY, field) and not issuers and statement.principals:
            yield f"{place(statement)} allows {WEB_IDENTITY} and names no OIDC provider"
        for host in (_host(each) for each in issuers):
            audience = WEB_IDENTITY_AUDIENCE
            if host == gitlab_host(role.surroundings):
                audience = role.surroundings.settings.gitlab.url
            if values_of(statement, "StringEquals", f"{host}:aud", field) != [audience]:
                yield f"{place(statement)} does not pin {host}:aud to {audience} with StringEquals"
            if values_of(statement, "StringEquals", f"{host}:sub", field) is None and not _may_be_like(role, host):
                yield f"{place(statement)} does not pin {host}:sub with StringEquals"


def _host(provider: str) -> str:
    return provider.partition(":oidc-provider/")[2]


def _may_be_like(role: CheckedResource, host: str) -> bool:
    """A GitLab role of an open level may name branches by a pattern, where the settings say so; T07 compares them."""
    settings = role.surroundings.settings
    if not isinstance(settings, Settings) or host != gitlab_host(role.surroundings):
        return False
    entries = {settings.names.gitlab_role(name): each for name, each in settings.gitlab_oidc.items()}
    entry = entries.get(role["name"].text() or "")
    return entry is not None and entry.level is Level.OPEN


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
    """`sub` is the declared service account of this role, and nothing else."""
    field, settings = role[TRUST], role.surroundings.runners
    expected = service_accounts(settings) if settings is not None else {}
    own = expected.get(role["name"].text() or "")
    for statement in allowed(field):
        for host in (_host(each) for each in principals(statement, "Federated", field)):
            if host == gitlab_host(role.surroundings):
                continue
            if own is None:
                yield f"{place(statement)} trusts tokens of {host}, and the settings call for no such role"
                continue
            subjects = [
                subject
                for condition in statement.conditions
                if condition.key == f"{host}:sub".lower()
                for subject in values_of(statement, condition.operator, condition.key, field) or ()
            ]
            if wrong := [each for each in subjects if each != own.subject]:
                yield f"{place(statement)} trusts {wrong[0]}; this role is for {own.subject}"


@resource_rule(
    "T07",
    "iam-role-names-one-gitlab-ref",
    [ROLE],
    demands="a trust in GitLab names the configured instance, and the project and ref that the settings say",
    stops="A08, A18: a merge request's token, or another project's, assumes the role",
    remedy="Change gitlab_oidc in the stack file; the trust follows from it.",
    settings=("gitlab_oidc.{entry}", "platform.project"),
    source="https://docs.gitlab.com/ci/cloud_services/aws/",
    severity=Severity.CRITICAL,
)
def one_gitlab_ref(role: CheckedResource) -> Iterator[str]:
    """The subjects are exactly the declared one; other hosts than the cluster's and GitLab's are foreign."""
    field, host = role[TRUST], gitlab_host(role.surroundings)
    expected = gitlab_subjects(role.surroundings.settings).get(role["name"].text() or "")
    for statement in allowed(field):
        for issuer in (_host(each) for each in principals(statement, "Federated", field)):
            if issuer.startswith("oidc.eks."):
                continue
            if issuer != host:
                yield f"{place(statement)} trusts the issuer {issuer or 'of no OIDC provider'}, which is neither the cluster's nor {host}"
                continue
            subjects = {
                subject
                for operator in ("StringEquals", "StringLike")
                for subject in values_of(statement, operator, f"{host}:sub", field) or ()
            }
            if expected is None:
                yield f"{place(statement)} trusts GitLab, and the settings call for no such role"
            elif wrong := sorted(subjects - {expected}):
                yield f"{place(statement)} trusts {wrong[0]}; the settings say {expected}"


@resource_rule(
    "T09",
    "iam-role-trusts-one-action",
    [ROLE],
    demands="a trust allows the one way of assuming that its principal needs",
    stops="A14: a job writes its own session tags, or comes in by another way",
    remedy="Allow sts:AssumeRole, or for tokens sts:AssumeRoleWithWebIdentity, and nothing else.",
    source=f"{IAM_GUIDE}id_session-tags.html",
)
def one_action(role: CheckedResource) -> Iterator[str]:
    """One exact action; `sts:TagSession` only for EKS itself, which asks for it."""
    field = role[TRUST]
    for statement in allowed(field):
        if statement.not_actions:
            yield f"{place(statement)} has NotAction: every other way in is open"
        services = {each.partition(".")[0] for each in principals(statement, "Service", field)}
        also = {"sts:tagsession"} if services == {"eks"} and len(statement.principals) == len(services) else set()
        actions = {each.lower() for each in statement.actions if isinstance(each, str)}
        if any(not isinstance(each, str) for each in statement.actions):
            field.undecided(field.path)
        if extra := sorted(actions - also - set(ASSUME_ACTIONS)):
            yield f"{place(statement)} allows {', '.join(extra)}"
