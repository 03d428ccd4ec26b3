"""The organisation: its member accounts, and the roles that exist in them before the platform.

MiniStack makes a separate organisation for every account that asks, without members. Here the accounts of the
configuration and the management account are members, in `aws:PrincipalOrgID` and in DescribeOrganization.
"""

from __future__ import annotations

import json
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import iam, organizations

from sandbox_aws.patching import replace
from sandbox_aws.state import RECORDS, Organization

ACCESS_ROLE = "OrganizationAccountAccessRole"
OPERATOR_ROLE = "platform-operator"
_ADMINISTRATOR = "arn:aws:iam::aws:policy/AdministratorAccess"


def install() -> None:
    """Replace MiniStack's organisation of an account."""
    replace("core.iam_evaluator", "_principal_org_id", lambda _original: organization_of)
    replace("services.organizations", "_ensure_org", _from_records)


def organization_of(account: str) -> str | None:
    """Return the id of the account's organisation, or None."""
    organization = RECORDS.organization
    return organization.id if organization is not None and organization.has(account) else None


def declare(document: dict[str, Any]) -> None:
    """Store the declared organisation and make the roles of its accounts.

    Raises:
        ValueError: The partition is not `aws` (MiniStack writes `aws` into every ARN), or accounts are missing.
        KeyError: A field is missing.
    """
    if document.get("partition", "aws") != "aws":
        raise ValueError(f"partition {document['partition']!r}: the sandbox only has the partition aws")
    if not document["accounts"]:
        raise ValueError("accounts: an organisation needs at least one besides the management account")
    accounts = {str(name): str(account) for name, account in document["accounts"].items()}
    declared = Organization(
        id=document["id"], region=document["region"], management=document["management"], accounts=accounts
    )
    RECORDS.organization = declared
    for account in accounts.values():
        with request_scope(account, declared.region):
            _role(ACCESS_ROLE, declared.management, None)
            iam.attach_managed_policy(iam._roles[ACCESS_ROLE], _ADMINISTRATOR)
    operator_home = accounts.get("admin") or next(iter(accounts.values()))
    with request_scope(operator_home, declared.region):
        _role(OPERATOR_ROLE, declared.management, _operator_permissions())
    for arn in document.get("people", ()):
        account, _, resource = arn.partition("::")[2].partition(":role")
        path, _, name = resource.rpartition("/")
        if account in accounts.values() and name not in {ACCESS_ROLE, OPERATOR_ROLE}:
            with request_scope(account, declared.region):
                _role(name, declared.management, None, path=f"{path}/")


def _operator_permissions() -> dict[str, Any]:
    """Return the permissions of an operator: to assume the platform's roles."""
    statement = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:*:iam::*:role/cicd-platform/*"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _role(name: str, management: str, permissions: dict[str, Any] | None, path: str = "/") -> None:
    """Make or update a role of the current account that the management account may assume."""
    principal = {"AWS": f"arn:aws:iam::{management}:root"}
    trust = {"Statement": [{"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}]}
    document = json.dumps({"Version": "2012-10-17", **trust})
    if name not in iam._roles:
        iam._create_role(
            {
                "RoleName": [name],
                "Path": [path],
                "AssumeRolePolicyDocument": [document],
                "MaxSessionDuration": ["43200"],
            }
        )
    iam._roles[name]["AssumeRolePolicyDocument"] = document
    if permissions is not None:
        iam._roles[name]["InlinePolicies"] = {name: json.dumps(permissions)}


def _from_records(original: Any) -> Any:
    """Make DescribeOrganization say the same in every member account."""

    def ensure() -> None:
        original()
        organization = RECORDS.organization
        account = organizations.get_account_id()
        if organization is None or not organization.has(account):
            return
        base = f"arn:aws:organizations::{organization.management}"
        organizations._orgs["self"].update(
            Id=organization.id,
            Arn=f"{base}:organization/{organization.id}",
            MasterAccountArn=f"{base}:account/{organization.id}/{organization.management}",
            MasterAccountId=organization.management,
        )

    return ensure
