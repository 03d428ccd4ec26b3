"""What the tests of the reasoner share: small worlds, made of a few roles, an issuer and a cluster."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from access.chains import Node
from access.decision import Decision
from access.graph import AccessGraph
from access.inventory import Inventory
from access.resource import Resource, pinned_to

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from access.callers import Choice

ADMIN, CICD, DEV, FOREIGN = "111111111111", "222222222222", "333333333333", "999999999999"
ORGANIZATION = "o-senncloud01"
HOST = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF"
OTHER_HOST = "oidc.eks.eu-central-1.amazonaws.com/id/FEDCBA9876543210"
PROVIDER = f"arn:aws:iam::{CICD}:oidc-provider/{HOST}"
AUDIENCE = "sts.amazonaws.com"
SUBJECT = "system:serviceaccount:jobs-small:job"
FACTS = Inventory(
    organization=ORGANIZATION, accounts={"admin": ADMIN, "cicd": CICD, "dev": DEV}, gitlab="https://gitlab.example"
)
GITLAB_PROVIDER = f"arn:aws:iam::{CICD}:oidc-provider/gitlab.example"


def arn(name: str, account: str = CICD) -> str:
    return f"arn:aws:iam::{account}:role/{name}"


def statement(effect: str = "Allow", **elements: Any) -> dict[str, Any]:
    return {"Effect": effect, **elements}


def document(*statements: Mapping[str, Any]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def trusts(principal: Any, action: Any = "sts:AssumeRole", **elements: Any) -> dict[str, Any]:
    return statement(Principal=principal, Action=action, **elements)


def trusts_token(condition: Any = None, provider: str = PROVIDER, action: Any = "sts:AssumeRoleWithWebIdentity") -> Any:
    found = trusts({"Federated": provider}, action)
    return found if condition is None else {**found, "Condition": condition}


def exact(subject: str = SUBJECT, host: str = HOST) -> dict[str, Any]:
    return {"StringEquals": {f"{host}:sub": subject, f"{host}:aud": AUDIENCE}}


def may_assume(*targets: str) -> dict[str, Any]:
    return document(statement(Action="sts:AssumeRole", Resource=list(targets)))


def resource(token: str, logical: str, account: str = "", stack: str = "dev", /, **inputs: Any) -> Resource:
    return Resource(
        urn=f"urn:pulumi:{stack}::p::{token}::{logical}",
        type=token,
        name=logical,
        inputs=inputs,
        provider_inputs=pinned_to(account) if account else None,
    )


def role(
    name: str,
    *trust: Mapping[str, Any],
    account: str = CICD,
    policies: Sequence[Any] = (),
    stack: str = "dev",
    **inputs: Any,
) -> Resource:
    inline = [{"name": f"policy-{index}", "policy": each} for index, each in enumerate(policies)]
    written = json.dumps(document(*trust))
    return resource(
        "aws:iam/role:Role",
        f"{account}-{name}",
        account,
        stack,
        name=name,
        **{"assumeRolePolicy": written, "inlinePolicies": inline, **inputs},
    )


def issuer(host: str = HOST, account: str = CICD, clients: Sequence[str] = (AUDIENCE,), stack: str = "dev") -> Resource:
    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"
    return resource(token, f"{account}-{host}", account, stack, url=f"https://{host}", clientIdLists=list(clients))


def kubernetes(kind: str, name: str, namespace: str = "", stack: str = "dev", **inputs: Any) -> Resource:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {}), **inputs.pop("metadata", {})}
    return resource(f"kubernetes:any/v1:{kind}", f"{namespace}-{name}-{kind}", "", stack, metadata=metadata, **inputs)


def world(*resources: Resource, facts: Inventory = FACTS) -> AccessGraph:
    return AccessGraph.of(resources, facts)


def reached(of: AccessGraph, start: Node, target: str) -> Decision:
    way = of.best(of.reach({start: True}), target)
    if way is None:
        return Decision.DENIED
    return Decision.ALLOWED if way.undecided is None else Decision.UNDECIDED


def by_token(
    of: AccessGraph, target: str, subject: str | Choice = SUBJECT, audience: str = AUDIENCE, host: str = HOST
) -> Decision:
    return reached(of, of.token(host, subject, audience), target)


def by_role(of: AccessGraph, caller: str, target: str) -> Decision:
    return reached(of, Node("role", caller), target)


def by_account(of: AccessGraph, account: str, target: str) -> Decision:
    return reached(of, Node("account", account), target)
