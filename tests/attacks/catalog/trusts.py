"""Mutations of trust documents, in spellings that a reviewer overlooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi_aws as aws

from components.documents import trust
from config import foundation
from tests.attacks.change import GONE, adding_statement, put, statement, with_inputs, with_result
from tests.attacks.mutation import seen_by
from tests.attacks.registered import trusting

if TYPE_CHECKING:
    from tests.attacks.change import Change, Edit

CICD = "222222222222"
STRANGER = "999999999999"
DEV_OPEN, PROD_PROTECTED = "delegated-dev-open-role", "delegated-prod-protected-role"
SMALL, DEPLOY = f"arn:aws:iam::{CICD}:role/cicd/runner-small", f"arn:aws:iam::{CICD}:role/cicd/runner-deploy"


def of_class(edit: Edit, name: str = "small") -> Change:
    """Change the trust of the job role of a class."""
    return with_result(trust.service_account, edit, lambda arguments: arguments["namespace"] == f"jobs-{name}")


def of_delegated(edit: Edit, caller: str = "runner-deploy") -> Change:
    """Change the trust of the delegated roles that a job role may assume."""
    return with_result(
        trust.roles_of_account,
        edit,
        lambda arguments: any(role_arn.endswith(caller) for role_arn in arguments["role_arns"]),
    )


def conditions(operator: str, subject: Any = None) -> Edit:
    """Return an edit that moves the subject to another operator; None keeps the subject."""

    def edit(document: Any) -> Any:
        exact = document["Statement"][0]["Condition"]["StringEquals"]
        (key,) = [claim for claim in exact if claim.endswith(":sub")]
        kept = exact.pop(key)
        document["Statement"][0]["Condition"].setdefault(operator, {})[key] = subject or kept
        return document

    return edit


def without_claim(claim: str) -> Edit:
    """Return an edit that removes the condition on a claim of the token."""

    def edit(document: Any) -> Any:
        exact = document["Statement"][0]["Condition"]["StringEquals"]
        for key in [name for name in exact if name.endswith(f":{claim}")]:
            del exact[key]
        return document

    return edit


def under_another_issuer(document: Any) -> Any:
    """Return the trust with condition keys of another issuer."""
    exact = document["Statement"][0]["Condition"]["StringEquals"]
    other_conditions = {
        f"oidc.eks.eu-central-1.amazonaws.com/id/OTHER:{key.rpartition(':')[2]}": value for key, value in exact.items()
    }
    document["Statement"][0]["Condition"]["StringEquals"] = other_conditions
    return document


def lower_case(document: Any) -> Any:
    """Return a trust in a bare account, with lower-case element names and the statement as an object."""
    kept = document["Statement"][0]
    return {"Statement": {"Effect": "Allow", "principal": kept["Principal"], "action": "STS:assumerole"}}


GITLAB = {
    "gitlab_oidc.release": {
        "account": "dev",
        "level": "protected",
        "project": "senncloud/shop",
        "ref": "main",
    },
    "accounts.dev.protected": ["state"],
}
BARE = put(GONE, "Statement", 0, "Condition")

MUTATIONS = [
    seen_by("I02 T04 T10", "A06", "a job role's trust pins the audience only", of_class(without_claim("sub"))),
    seen_by("T04", "A06", "a job role's trust pins the subject only", of_class(without_claim("aud"))),
    seen_by(
        "T01 T04 T06 T07", "A06", "a job role trusts every issuer", of_class(statement(Principal={"Federated": "*"}))
    ),
    seen_by(
        "T05 T10",
        "A03",
        "a job role trusts the account of pods that name none",
        of_class(conditions("StringEquals", "system:serviceaccount:jobs-small:default")),
    ),
    seen_by(
        "T04 T05 T10",
        "A07",
        "a job role trusts any service account of its namespace, by StringLike",
        of_class(conditions("StringLike", "system:serviceaccount:jobs-small:*")),
    ),
    seen_by(
        "T04 T05 T10",
        "A07",
        "a job role trusts a namespace with a `?` in it",
        of_class(conditions("StringLike", "system:serviceaccount:jobs-smal?:job")),
    ),
    seen_by("T04", "A07", "a job role's subject is exact, and under StringLike", of_class(conditions("StringLike"))),
    seen_by("I02 T04 T10", "A07", "a subject under StringEqualsIfExists", of_class(conditions("StringEqualsIfExists"))),
    seen_by(
        "I02 T04 T10",
        "A07",
        "a subject under ForAllValues:StringEquals",
        of_class(conditions("ForAllValues:StringEquals")),
    ),
    seen_by("T04 T10", "A07", "conditions under the keys of another issuer", of_class(under_another_issuer)),
    seen_by(
        "T05 T10",
        "A07",
        "a job role trusts its manager's service account besides, pinned exactly",
        of_class(
            conditions(
                "StringEquals", ["system:serviceaccount:jobs-small:job", "system:serviceaccount:runner-small:manager"]
            )
        ),
    ),
    seen_by(
        "T04 T06 T07 T10",
        "A08",
        "the cluster's OIDC provider stands for a foreign issuer",
        with_inputs(aws.iam.OpenIdConnectProvider, "cluster-issuer", url="https://oidc.evil.example"),
    ),
    seen_by(
        "T06",
        "A08",
        "the cluster's OIDC provider takes tokens for another audience",
        with_inputs(aws.iam.OpenIdConnectProvider, "cluster-issuer", client_id_lists=["sts.amazonaws.com", "sigstore"]),
    ),
    seen_by(
        "T04 T07 T10",
        "A08",
        "the platform's own deployer trusts every branch of its project",
        with_result(
            trust.gitlab, conditions("StringLike", "project_path:senncloud/runner-platform:ref_type:branch:ref:*")
        ),
        stack=foundation.STACK,
    ),
    seen_by(
        "T02 T10",
        "A09",
        "the platform's own deployer trusts the whole account of its operators",
        with_result(trust.roles_of_account, BARE),
        stack=foundation.STACK,
    ),
    seen_by(
        "T04 T07 T10",
        "A08",
        "a GitLab role trusts every branch of its project",
        with_result(trust.gitlab, conditions("StringLike", "project_path:senncloud/shop:ref_type:branch:ref:*")),
        settings=GITLAB,
    ),
    seen_by(
        "T07 T10",
        "A18",
        "a GitLab role trusts a branch that nobody protects",
        with_result(
            trust.gitlab, conditions("StringEquals", "project_path:senncloud/shop:ref_type:branch:ref:feature")
        ),
        settings=GITLAB,
    ),
    seen_by(
        "T07 T10",
        "A08",
        "a GitLab role trusts another project's branch besides, pinned exactly",
        with_result(
            trust.gitlab,
            conditions(
                "StringEquals",
                [f"project_path:senncloud/{project}:ref_type:branch:ref:main" for project in ("shop", "old")],
            ),
        ),
        settings=GITLAB,
    ),
    seen_by("T02 T10 T11", "A09", "prod's delegated role trusts the whole account cicd", of_delegated(BARE)),
    seen_by(
        "T02 T10 T11",
        "A09",
        "the whole account in lower-case elements, and the one statement as an object",
        of_delegated(lower_case),
    ),
    seen_by(
        "T02 T10",
        "A09",
        "a good statement, and a second one that lets the whole account in",
        of_delegated(adding_statement({"Principal": {"AWS": CICD}, "Action": "sts:AssumeRole"})),
    ),
    seen_by(
        "I01 I02 T01 T10 T11",
        "A09",
        "a delegated role trusts everybody, as a bare text",
        of_delegated(statement(Principal="*", Condition=GONE)),
    ),
    seen_by(
        "I01 I02 T01 T10 T11",
        "A09",
        "a delegated role trusts all but one, by NotPrincipal",
        of_delegated(statement(Principal=GONE, NotPrincipal={"AWS": f"arn:aws:iam::{STRANGER}:root"}, Condition=GONE)),
    ),
    seen_by(
        "T02 T10 T11",
        "A27",
        "prod's delegated role trusts whatever role has a name that fits",
        of_delegated(
            statement(Condition={"ArnLike": {"aws:PrincipalArn": f"arn:aws:iam::{CICD}:role/cicd/runner-deploy*"}})
        ),
    ),
    seen_by(
        "T02 T10 T11",
        "A13",
        "prod's delegated role asks for an ExternalId in place of exact roles",
        of_delegated(statement(Condition={"StringEquals": {"sts:ExternalId": "senncloud"}})),
    ),
    seen_by(
        "T09",
        "A14",
        "a delegated role's trust allows sts:TagSession",
        of_delegated(statement(Action=["sts:AssumeRole", "sts:TagSession"])),
    ),
    seen_by("T04 T09", "A14", "a delegated role's trust allows sts:*", of_delegated(statement(Action="sts:*"))),
    seen_by(
        "T03",
        "A15",
        "the flow log's role trusts its service for every account",
        with_result(trust.service, BARE, lambda arguments: arguments["for_account"] is not None),
    ),
    seen_by(
        "T03",
        "A15",
        "the nodes' role trusts a service that runs anybody's code",
        with_result(
            trust.service,
            statement(Principal={"Service": ["ec2.amazonaws.com", "codebuild.amazonaws.com"]}),
            lambda arguments: arguments["principals"] == ("ec2.amazonaws.com",),
        ),
    ),
    seen_by(
        "T03 T10",
        "A15",
        "prod's delegated role trusts exactly one role, of an account that is not ours",
        of_delegated(
            adding_statement({"Principal": {"AWS": f"arn:aws:iam::{STRANGER}:role/vendor"}, "Action": "sts:AssumeRole"})
        ),
    ),
]
MUTATIONS += [
    seen_by("T03", "A15", f"the role {role} trusts {service}", edit=trusting(role, {"Service": service}))
    for role, service in (
        *((name, "ec2.amazonaws.com") for name in (PROD_PROTECTED, "small-identity-manager", "network-flow-log-role")),
        *((name, "eks.amazonaws.com") for name in (DEV_OPEN, "deploy-identity-job", "cluster-roles-node")),
    )
]
MUTATIONS += [
    seen_by(
        "T03",
        "A15",
        f"the platform's own {role} trusts {service}",
        edit=trusting(f"access-cicd-{role}-role", {"Service": service}),
        stack=foundation.STACK,
    )
    for role, service in (("deployer", "ec2.amazonaws.com"), ("reader", "eks.amazonaws.com"))
]
