"""IAM: what a policy can say about roles, and what IAM refuses to store."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.aws_cases import CICD, DEV, STRANGER, Caller, Cloud, policy, refusal, trusting, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)

MALFORMED = (400, "MalformedPolicyDocument")
DENIED = (403, "AccessDenied")


def caller_who(aws: Cloud, *statements: dict[str, Any]) -> Caller:
    """Return a session that may do just this, in the account dev."""
    iam, name = aws.root(DEV).client("iam"), unique("caller")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(DEV))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="may", PolicyDocument=policy(*statements))
    return aws.root(DEV).assume(arn)


def make(iam: Any, path: str = "/", **fields: Any) -> str:
    """Make a role and return its name."""
    name = unique("made")
    iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trusting(DEV), **fields)
    return name


@pytest.fixture(scope="module")
def boundary(aws: Cloud) -> str:
    """A policy to bound roles with."""
    made = (
        aws.root(DEV)
        .client("iam")
        .create_policy(
            PolicyName=unique("boundary"),
            Path="/cicd-platform/",
            PolicyDocument=policy({"Action": "s3:*", "Resource": "*"}),
        )
    )
    return str(made["Policy"]["Arn"])


def test_an_allowance_on_a_path_covers_the_roles_of_that_path_only(aws: Cloud) -> None:
    iam = caller_who(aws, {"Action": "iam:*", "Resource": f"arn:aws:iam::{DEV}:role/cicd/*"}).client("iam")
    name = make(iam, "/cicd/")
    iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "b"}])
    iam.delete_role(RoleName=name)
    assert refusal(make, iam) == DENIED
    assert refusal(make, iam, "/other/") == DENIED


def test_an_allowance_on_a_path_covers_the_instance_profiles_of_that_path_only(aws: Cloud) -> None:
    root = aws.root(DEV).client("iam")
    root.create_instance_profile(InstanceProfileName=(other := unique("other")))
    iam = caller_who(aws, {"Action": "iam:*", "Resource": f"arn:aws:iam::{DEV}:instance-profile/cicd/*"}).client("iam")
    iam.create_instance_profile(InstanceProfileName=(name := unique("made")), Path="/cicd/")
    iam.delete_instance_profile(InstanceProfileName=name)
    assert refusal(iam.delete_instance_profile, InstanceProfileName=other) == DENIED


def test_a_denial_on_a_path_protects_the_roles_of_that_path(aws: Cloud) -> None:
    protected = make(aws.root(DEV).client("iam"), "/cicd-platform/")
    open_to_all = make(aws.root(DEV).client("iam"), "/deploy/")
    iam = caller_who(
        aws,
        {"Action": "iam:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": f"arn:aws:iam::{DEV}:role/cicd*/*"},
    ).client("iam")
    document = trusting(STRANGER)
    assert refusal(iam.update_assume_role_policy, RoleName=protected, PolicyDocument=document) == DENIED
    assert refusal(iam.delete_role, RoleName=protected) == DENIED
    assert refusal(make, iam, "/cicd/") == DENIED
    iam.delete_role(RoleName=open_to_all)


def test_policies_and_providers_are_named_with_their_path_too(aws: Cloud) -> None:
    iam = caller_who(
        aws,
        {"Action": "iam:*", "Resource": "*"},
        {
            "Effect": "Deny",
            "Action": "iam:*",
            "Resource": [f"arn:aws:iam::{DEV}:policy/cicd*/*", f"arn:aws:iam::{DEV}:oidc-provider/*"],
        },
    ).client("iam")
    document = policy({"Action": "s3:*", "Resource": "*"})
    assert refusal(iam.create_policy, PolicyName=unique(), Path="/cicd/", PolicyDocument=document) == DENIED
    iam.create_policy(PolicyName=unique(), PolicyDocument=document)
    url = f"https://example.com/{unique()}"
    assert refusal(iam.create_open_id_connect_provider, Url=url, ClientIDList=["a"]) == DENIED


def test_who_may_create_roles_only_with_the_boundary_cannot_leave_it_out(aws: Cloud, boundary: str) -> None:
    iam = caller_who(
        aws,
        {
            "Action": ["iam:CreateRole", "iam:PutRolePolicy", "iam:AttachRolePolicy"],
            "Resource": f"arn:aws:iam::{DEV}:role/deploy/*",
            "Condition": {"StringEquals": {"iam:PermissionsBoundary": boundary}},
        },
    ).client("iam")
    bound = make(iam, "/deploy/", PermissionsBoundary=boundary)
    assert refusal(make, iam, "/deploy/") == DENIED
    other = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert refusal(make, iam, "/deploy/", PermissionsBoundary=other) == DENIED
    document = policy({"Action": "s3:*", "Resource": "*"})
    iam.put_role_policy(RoleName=bound, PolicyName="p", PolicyDocument=document)
    unbound = make(aws.root(DEV).client("iam"), "/deploy/")
    assert refusal(iam.put_role_policy, RoleName=unbound, PolicyName="p", PolicyDocument=document) == DENIED
    assert refusal(iam.delete_role_permissions_boundary, RoleName=bound) == DENIED


def test_a_boundary_limits_what_its_role_may_do(aws: Cloud, boundary: str) -> None:
    root, name = aws.root(DEV), unique("bound")
    iam = root.client("iam")
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(DEV), PermissionsBoundary=boundary)["Role"][
        "Arn"
    ]
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=policy({"Action": "*", "Resource": "*"}))
    session = root.assume(arn)
    session.client("s3").list_buckets()
    assert refusal(session.client("iam").list_roles) == DENIED


def test_the_policy_that_may_be_attached_can_be_named(aws: Cloud) -> None:
    allowed = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
    condition = {"ArnEquals": {"iam:PolicyARN": allowed}}
    iam = caller_who(aws, {"Action": "iam:AttachRolePolicy", "Resource": "*", "Condition": condition}).client("iam")
    name = make(aws.root(DEV).client("iam"))
    iam.attach_role_policy(RoleName=name, PolicyArn=allowed)
    administrator = "arn:aws:iam::aws:policy/AdministratorAccess"
    assert refusal(iam.attach_role_policy, RoleName=name, PolicyArn=administrator) == DENIED


def test_passing_a_role_to_a_service_needs_a_permission_of_its_own(aws: Cloud) -> None:
    root = aws.root(DEV).client("iam")
    name = make(root, "/deploy/")
    arn = root.get_role(RoleName=name)["Role"]["Arn"]
    task = {
        "family": unique(),
        "taskRoleArn": arn,
        "containerDefinitions": [{"name": "a", "image": "b", "memory": 128}],
    }
    without = caller_who(aws, {"Action": "ecs:*", "Resource": "*"}).client("ecs")
    assert refusal(without.register_task_definition, **task)[1] == "AccessDeniedException"
    passing = {"Action": "iam:PassRole", "Resource": f"arn:aws:iam::{DEV}:role/deploy/*"}
    to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    caller_who(aws, {"Action": "ecs:*", "Resource": "*"}, passing | {"Condition": to_tasks}).client(
        "ecs"
    ).register_task_definition(**task)
    to_others = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    wrong = caller_who(aws, {"Action": "ecs:*", "Resource": "*"}, passing | {"Condition": to_others}).client("ecs")
    assert refusal(wrong.register_task_definition, **task)[1] == "AccessDeniedException"


def test_role_names_are_unique_whatever_the_path(aws: Cloud) -> None:
    iam = aws.root(DEV).client("iam")
    name = make(iam, "/cicd/")
    trust = trusting(DEV)
    for again, path in ((name, "/cicd-dev/"), (name.upper(), "/")):
        found = refusal(iam.create_role, RoleName=again, Path=path, AssumeRolePolicyDocument=trust)
        assert found == (409, "EntityAlreadyExists"), "two stacks that differ in the path alone collide"
    assert aws.root(CICD).client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)


def test_policy_names_are_unique_whatever_the_path(aws: Cloud) -> None:
    iam, name = aws.root(DEV).client("iam"), unique()
    document = policy({"Action": "s3:*", "Resource": "*"})
    iam.create_policy(PolicyName=name, Path="/cicd/", PolicyDocument=document)
    found = refusal(iam.create_policy, PolicyName=name, Path="/cicd-dev/", PolicyDocument=document)
    assert found == (409, "EntityAlreadyExists")


@pytest.mark.parametrize(
    ("why", "document"),
    [
        ("not JSON", "{"),
        ("no statement", "{}"),
        ("no principal", policy({"Action": "sts:AssumeRole"})),
        ("a resource", policy({"Principal": {"AWS": DEV}, "Action": "sts:AssumeRole", "Resource": "*"})),
        ("no action", policy({"Principal": {"AWS": DEV}})),
        ("an action of another service", policy({"Principal": {"AWS": DEV}, "Action": "s3:GetObject"})),
        ("an unknown kind of principal", policy({"Principal": {"Role": DEV}, "Action": "sts:AssumeRole"})),
        (
            "a principal that does not exist",
            policy({"Principal": {"AWS": f"arn:aws:iam::{DEV}:role/nobody"}, "Action": "sts:AssumeRole"}),
        ),
        (
            "a wildcard in a principal",
            policy({"Principal": {"AWS": f"arn:aws:iam::{DEV}:role/*"}, "Action": "sts:AssumeRole"}),
        ),
    ],
)
def test_a_malformed_trust_is_refused_at_creation_and_at_change(aws: Cloud, why: str, document: str) -> None:
    iam = aws.root(DEV).client("iam")
    assert refusal(iam.create_role, RoleName=unique(), AssumeRolePolicyDocument=document) == MALFORMED, why
    name = make(iam)
    assert refusal(iam.update_assume_role_policy, RoleName=name, PolicyDocument=document) == MALFORMED, why
    kept = iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"]
    assert kept == json.loads(trusting(DEV)), "a refused change leaves the old document"


@pytest.mark.parametrize(
    ("why", "statement"),
    [
        ("an action without service", {"Action": "GetObject", "Resource": "*"}),
        ("a resource that is no ARN", {"Action": "s3:GetObject", "Resource": "bucket"}),
        ("a principal", {"Action": "s3:GetObject", "Resource": "*", "Principal": "*"}),
        ("no resource", {"Action": "s3:GetObject"}),
    ],
)
def test_a_malformed_permission_policy_is_refused(aws: Cloud, why: str, statement: dict[str, Any]) -> None:
    iam, document = aws.root(DEV).client("iam"), policy(statement)
    assert refusal(iam.create_policy, PolicyName=unique(), PolicyDocument=document) == MALFORMED, why
    found = refusal(iam.put_role_policy, RoleName=make(iam), PolicyName="p", PolicyDocument=document)
    assert found == MALFORMED, why


def test_documents_have_quotas(aws: Cloud) -> None:
    iam = aws.root(DEV).client("iam")
    long = policy({"Action": "s3:*", "Resource": [f"arn:aws:s3:::bucket-{number:05}/*" for number in range(250)]})
    assert refusal(iam.create_policy, PolicyName=unique(), PolicyDocument=long) == (409, "LimitExceeded")
    condition = {"ArnEquals": {"aws:PrincipalArn": [f"arn:aws:iam::{DEV}:role/cicd/runner-{n:05}" for n in range(60)]}}
    found = refusal(iam.create_role, RoleName=unique(), AssumeRolePolicyDocument=trusting(DEV, **condition))
    assert found == (409, "LimitExceeded")
    longer = policy({"Action": "s3:*", "Resource": [f"arn:aws:s3:::bucket-{number:05}/*" for number in range(400)]})
    assert refusal(iam.put_role_policy, RoleName=make(iam), PolicyName="p", PolicyDocument=longer)[1] == "LimitExceeded"


@pytest.mark.parametrize(
    "fields",
    [{"RoleName": "a" * 65}, {"RoleName": "a/b"}, {"Path": "cicd/"}, {"Path": "/cicd"}, {"MaxSessionDuration": 43201}],
)
def test_a_role_outside_of_iams_limits_is_refused(aws: Cloud, fields: dict[str, Any]) -> None:
    client = aws.root(DEV).client("iam")
    asked = {"RoleName": unique(), "AssumeRolePolicyDocument": trusting(DEV)} | fields
    assert refusal(client.create_role, **asked) == (400, "ValidationError")


def test_a_policy_that_does_not_exist_cannot_be_attached(aws: Cloud) -> None:
    iam = aws.root(DEV).client("iam")
    name = make(iam)
    for arn in ("arn:aws:iam::aws:policy/AdminstratorAccess", f"arn:aws:iam::{DEV}:policy/nothing"):
        assert refusal(iam.attach_role_policy, RoleName=name, PolicyArn=arn) == (404, "NoSuchEntity")
    for known in ("AmazonEKSComputePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKSWorkerNodeMinimalPolicy"):
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{known}")


def test_an_older_version_of_a_policy_can_be_made_the_default(aws: Cloud) -> None:
    iam = aws.root(DEV).client("iam")
    first, second = (policy({"Action": action, "Resource": "*"}) for action in ("s3:*", "sqs:*"))
    arn = iam.create_policy(PolicyName=unique(), PolicyDocument=first)["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=arn, PolicyDocument=second, SetAsDefault=True)
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v1")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v1"
    assert refusal(iam.delete_policy, PolicyArn=arn) == (409, "DeleteConflict")
    iam.delete_policy_version(PolicyArn=arn, VersionId="v2")
    iam.delete_policy(PolicyArn=arn)
    assert refusal(iam.set_default_policy_version, PolicyArn=arn, VersionId="v1") == (404, "NoSuchEntity")


def test_a_provider_can_be_changed_and_tagged(aws: Cloud) -> None:
    iam, url = aws.root(DEV).client("iam"), f"example.com/{unique()}"
    arn = iam.create_open_id_connect_provider(
        Url=f"https://{url}", ClientIDList=["a"], Tags=[{"Key": "k", "Value": "v"}]
    )["OpenIDConnectProviderArn"]
    one = {"OpenIDConnectProviderArn": arn}
    iam.add_client_id_to_open_id_connect_provider(**one, ClientID="b")
    iam.add_client_id_to_open_id_connect_provider(**one, ClientID="b")
    iam.remove_client_id_from_open_id_connect_provider(**one, ClientID="a")
    iam.update_open_id_connect_provider_thumbprint(**one, ThumbprintList=["f" * 40])
    iam.tag_open_id_connect_provider(**one, Tags=[{"Key": "k", "Value": "w"}, {"Key": "l", "Value": "x & y"}])
    assert iam.list_open_id_connect_provider_tags(**one)["Tags"] == [
        {"Key": "k", "Value": "w"},
        {"Key": "l", "Value": "x & y"},
    ]
    iam.untag_open_id_connect_provider(**one, TagKeys=["k", "l"])
    found = iam.get_open_id_connect_provider(**one)
    assert (found["Url"], found["ClientIDList"], found["ThumbprintList"]) == (url, ["b"], ["f" * 40])
    assert not found.get("Tags")


def test_a_provider_is_made_over_https_only_and_once(aws: Cloud) -> None:
    iam, url = aws.root(DEV).client("iam"), f"example.com/{unique()}"
    assert refusal(iam.create_open_id_connect_provider, Url=f"http://{url}")[0] == 400
    iam.create_open_id_connect_provider(Url=f"https://{url}")
    assert refusal(iam.create_open_id_connect_provider, Url=f"https://{url}") == (409, "EntityAlreadyExists")
    missing = f"arn:aws:iam::{DEV}:oidc-provider/nowhere"
    found = refusal(iam.add_client_id_to_open_id_connect_provider, OpenIDConnectProviderArn=missing, ClientID="a")
    assert found == (404, "NoSuchEntity")
