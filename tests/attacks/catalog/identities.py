"""Mutations of identities and chains: service accounts, profiles, roles that assume roles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws
import pulumi_kubernetes as kubernetes

from components.cluster import Cluster, ClusterRoles
from components.delegated_role import DelegatedRole
from components.documents import profiles, trust
from config.names import JOB_SERVICE_ACCOUNT
from tests.attacks.catalog.trusts import BARE, CICD, DEPLOY, PROD_PROTECTED, SMALL, of_delegated
from tests.attacks.change import (
    GONE,
    adding_statement,
    put,
    statement,
    together,
    with_addition,
    with_inputs,
    with_result,
)
from tests.attacks.mutation import seen_by
from tests.attacks.registered import trusting

if TYPE_CHECKING:
    from tests.attacks.change import Change, Edit

PROD_ROLE = "arn:aws:iam::444444444444:role/cicd/delegated-role"
DEV_ROLE = "arn:aws:iam::333333333333:role/cicd/delegated-role-open"
ANNOTATION = "eks.amazonaws.com/role-arn"


def of_small(edit: Edit) -> Change:
    """Change the permission of the open class to assume roles."""
    return with_result(trust.assume_roles, edit, lambda arguments: DEV_ROLE in arguments["role_arns"])


def named_too(*arns: str) -> Edit:
    """Return an edit that adds roles to a trust."""
    return put(lambda role_arns: [*role_arns, *arns], "Statement", 0, "Condition", "ArnEquals", "aws:PrincipalArn")


def may_assume(role: str, *targets: str) -> Any:
    """Return a function that makes a policy: the role may assume the targets."""

    def make(component: Any, _args: Any) -> None:
        aws.iam.RolePolicy(
            f"{role}-further",
            name="further",
            role=role,
            policy=pulumi.Output.json_dumps(trust.assume_roles(targets)),
            opts=pulumi.ResourceOptions(parent=component),
        )

    return make


def associated(component: Any, args: Any) -> None:
    """Make a pod identity association: jobs of the open class get the role of the protected class."""
    aws.eks.PodIdentityAssociation(
        "association",
        cluster_name=args.names.cluster,
        namespace="jobs-small",
        service_account=JOB_SERVICE_ACCOUNT,
        role_arn=DEPLOY,
        opts=pulumi.ResourceOptions(parent=component),
    )


def annotated(arn: str) -> Change:
    """Add a role annotation to the service account of the open class's jobs."""
    metadata = {"name": JOB_SERVICE_ACCOUNT, "namespace": "jobs-small", "annotations": {ANNOTATION: arn}}
    return with_inputs(kubernetes.core.v1.ServiceAccount, "small-runner-job-account", metadata=metadata)


def in_dev(role: str) -> Any:
    """Return a statement that trusts exactly one role of the account dev."""
    arns = [f"arn:aws:iam::333333333333:role/cicd/{role}"]
    document = trust.roles_of_account(
        partition="aws", account_id="333333333333", role_arns=arns, organization_id="o-senncloud01"
    )
    return document["Statement"][0]


NODE = "runner-platform-node"
MUTATIONS = [
    seen_by(
        "T11 T12",
        "A01",
        "the nodes' role may assume prod's delegated role",
        with_addition(ClusterRoles, may_assume(NODE, PROD_ROLE)),
    ),
    seen_by(
        "T03 T10 T12",
        "A01",
        "the nodes' role may assume prod's delegated role, which names it",
        together(
            with_addition(ClusterRoles, may_assume(NODE, PROD_ROLE)),
            of_delegated(named_too(f"arn:aws:iam::{CICD}:role/cicd/{NODE}")),
        ),
    ),
    seen_by("T08", "A03", "jobs of the open class are annotated with the protected class's role", annotated(DEPLOY)),
    seen_by(
        "T08",
        "A03",
        "the open class's manager is annotated with the protected class's manager's role",
        with_inputs(
            kubernetes.core.v1.ServiceAccount,
            "small-runner-manager-account",
            metadata=lambda metadata: {
                **metadata,
                "annotations": {ANNOTATION: f"arn:aws:iam::{CICD}:role/cicd/runner-manager-deploy"},
            },
        ),
    ),
    seen_by("T08", "A12", "a pod identity association for the open class's jobs", with_addition(Cluster, associated)),
    seen_by(
        "I02 T03 T10",
        "A12",
        "the open class is named on both sides of prod's delegated role",
        together(
            of_small(put(lambda role_arns: [*role_arns, PROD_ROLE], "Statement", 0, "Resource")),
            of_delegated(named_too(SMALL)),
        ),
    ),
    seen_by(
        "I02 P04 T03 T10",
        "A12",
        "prod's delegated role trusts dev's, which may assume it and has no boundary",
        together(
            of_delegated(adding_statement(in_dev("delegated-role-open"))),
            with_addition(DelegatedRole, may_assume("delegated-role-open", PROD_ROLE), "delegated-dev-open"),
            with_inputs(aws.iam.Role, "delegated-dev-open-role", permissions_boundary=GONE),
        ),
    ),
    seen_by(
        "T03 T10",
        "A12",
        "prod's delegated role trusts a role in dev that no stack makes",
        of_delegated(adding_statement(in_dev("forgotten"))),
    ),
    seen_by(
        "P02 T11",
        "A12",
        "the open class may assume any role, as `sts:Assume*` on `*`",
        of_small(statement(Action="sts:Assume*", Resource="*")),
    ),
    seen_by(
        "T11",
        "A12",
        "the open class may assume every role but one, by NotResource",
        of_small(lambda _: {"Statement": {"Effect": "Allow", "Action": "STS:ASSUMEROLE", "NotResource": PROD_ROLE}}),
    ),
    seen_by(
        "T13",
        "A25",
        "the profile dev of the open class names the role in prod",
        with_result(
            profiles.class_profiles,
            lambda text: text.replace(
                "333333333333:role/cicd/delegated-role-open", "444444444444:role/cicd/delegated-role"
            ),
            lambda arguments: arguments["runner_class"].name == "small",
        ),
    ),
    seen_by(
        "T02 T10 T11 T12",
        "A09",
        "the nodes' role may assume any role, and prod's trusts the whole account",
        together(with_addition(ClusterRoles, may_assume(NODE, "*")), of_delegated(BARE)),
    ),
    seen_by(
        "T13",
        "A12",
        "the open class has a profile that goes by the protected class's role",
        with_result(
            profiles.class_profiles,
            lambda text: f"{text}\n[profile through]\nrole_arn = {DEPLOY}\nsource_profile = base\n",
            lambda arguments: arguments["runner_class"].name == "small",
        ),
    ),
    seen_by(
        "T13",
        "A25",
        "a profile holds a key that never expires",
        with_result(profiles.class_profiles, lambda text: f"{text}aws_access_key_id = AKIAEXAMPLE\n"),
    ),
]
MUTATIONS += [
    seen_by(
        rules,
        "A12",
        f"prod's delegated role trusts the platform's own {role} of {account}",
        edit=trusting(
            PROD_PROTECTED,
            {"AWS": account},
            Condition={"ArnEquals": {"aws:PrincipalArn": f"arn:aws:iam::{account}:role/cicd-platform/platform-{role}"}},
        ),
    )
    for rules, role, account in (
        ("T03 T10", "reader", "333333333333"),
        ("T03 T10", "reader", CICD),
        ("T03", "deployer", "333333333333"),  # in the matrix every deployer is one: cicd's rules the cluster
    )
]
MUTATIONS += [
    seen_by(
        "T03 T10",
        "A12",
        "a job's role trusts the platform's reader, as the principal itself",
        edit=trusting("deploy-identity-job", {"AWS": f"arn:aws:iam::{CICD}:role/cicd-platform/platform-reader"}),
    )
]
