"""Refused requests of deployments, each beside the permitted form of the same request, so that the set-up is known to work.

Every refusal is an AccessDenied that names the action. docs/use/deploying.md has the reasons.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from config.capabilities import Level
from config.names import DEPLOYER_ROLE, PLATFORM_ROLE_PATH, role_arn
from tests.platform.test_deployments import apply, backend, checkout
from tests.platform.test_deployments_services import SEND, TRUST, remove, task_role
from tests.support.deploying import Job, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

CONTAINERS = [{"name": "app", "image": "registry.example.com/app"}]
ANYTHING = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]})
DEPLOYERS = [("prod", "small", "dev"), ("dev", "small", "dev"), ("prod", "deploy", "prod")]
"""A class of each level and stack, with the account that it deploys into."""


@pytest.fixture(scope="module", params=DEPLOYERS, ids="-".join)
def deployer(
    request: pytest.FixtureRequest, sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployer]:
    stack, runner_class, account = request.param
    new_deployer = Deployer(Job(sandbox, stack, runner_class, tmp_path_factory.mktemp("job")), account)
    roles = [new_deployer.role, f"{new_deployer.name}-execution"]
    remove(new_deployer.job.as_root(account), new_deployer.name, roles)
    task_role(new_deployer.job, account, new_deployer.role)
    yield new_deployer
    remove(new_deployer.job.as_root(account), new_deployer.name, roles)


class Deployer:
    """A job, its account, and a role that it created for a deployment: the control of most refusals."""

    def __init__(self, job: Job, account: str) -> None:
        self.job, self.account = job, account
        self.name = f"refused-{job.stack}-{job.runner_class}"
        self.role = f"{self.name}-task"

    def client(self, service: str) -> Any:
        return self.job.client(service, self.account)

    def arn(self, path: str, name: str) -> str:
        return role_arn("aws", self.job.settings.accounts[self.account].id, path, name)

    def platform_roles(self) -> list[str]:
        """Return the job's own delegated role and the platform's deployer."""
        names = self.job.settings.names
        level = self.job.settings.runners[self.job.runner_class].level
        return [
            self.arn(names.role_path, names.delegated_role(level)),
            self.arn(PLATFORM_ROLE_PATH, DEPLOYER_ROLE),
        ]


def test_state_of_the_other_level_and_stack_is_refused(deployer: Deployer) -> None:
    job, s3 = deployer.job, deployer.client("s3")
    bucket, own_key = job.state_bucket(deployer.account), job.state_key("refusals")
    s3.put_object(Bucket=bucket, Key=own_key, Body=b"{}")
    assert s3.get_object(Bucket=bucket, Key=own_key)["Body"].read() == b"{}"
    s3.put_object(Bucket=bucket, Key=f"{own_key}.tflock", Body=b"{}")
    s3.delete_object(Bucket=bucket, Key=f"{own_key}.tflock")
    levels = {job.state_key("refusals", level) for level in Level} - {own_key}
    stacks = {own_key.removeprefix("dev/") if job.stack == "dev" else f"dev/{own_key}"}
    for key in levels | stacks:
        assert "s3:PutObject" in refusal(s3.put_object, Bucket=bucket, Key=key, Body=b"{}")
        refusal(s3.get_object, Bucket=bucket, Key=key)
        refusal(s3.list_objects_v2, Bucket=bucket, Prefix=key)
    assert "s3:DeleteObject" in refusal(s3.delete_object, Bucket=bucket, Key=own_key), (
        "state may be emptied, never deleted"
    )


def test_opentofu_reports_refused_state(deployer: Deployer, tmp_path: Path) -> None:
    job, project = deployer.job, "prefixes"
    text = backend(job, deployer.account, project)
    folder = checkout(tmp_path, text)
    apply(job, folder)
    other_level = Level.PROTECTED if job.settings.runners[job.runner_class].level is Level.OPEN else Level.OPEN
    (folder / "backend.tf").write_text(text.replace(job.state_key(project), job.state_key(project, other_level)))
    done = job.tofu(folder, "init", "-input=false", "-reconfigure")
    if done.returncode == 0:
        done = job.tofu(folder, "apply", "-input=false", "-auto-approve")
    assert done.returncode == 1
    assert "403" in done.stderr or "AccessDenied" in done.stderr, done.stderr


@pytest.mark.parametrize(("stack", "prefix"), [("prod", ""), ("dev", "dev/")])
def test_an_open_class_pushes_to_no_protected_repository(
    sandbox: Sandbox, tmp_path: Path, stack: str, prefix: str
) -> None:
    ecr = Job(sandbox, stack, "small", tmp_path).client("ecr", "cicd")
    ecr.initiate_layer_upload(repositoryName=f"{prefix}open/apps")
    other_prefix = "" if prefix else "dev/"
    for repository in (f"{prefix}protected/apps", f"{prefix}protected/runner", f"{other_prefix}open/apps"):
        assert "ecr:InitiateLayerUpload" in refusal(ecr.initiate_layer_upload, repositoryName=repository)
        assert "ecr:PutImage" in refusal(ecr.put_image, repositoryName=repository, imageManifest="{}", imageTag="1")


def test_a_role_needs_the_boundary_and_the_path(deployer: Deployer) -> None:
    iam, boundary = deployer.client("iam"), deployer.job.boundary(deployer.account)
    request = {"RoleName": f"{deployer.name}-execution", "AssumeRolePolicyDocument": TRUST}
    iam.create_role(**request, Path="/deploy/", PermissionsBoundary=boundary)
    other_boundary = "arn:aws:iam::aws:policy/AdministratorAccess"
    wrong = [
        {"RoleName": "refused-a", "Path": "/deploy/"},
        {"RoleName": "refused-b", "Path": "/deploy/", "PermissionsBoundary": other_boundary},
        {"RoleName": "refused-c", "Path": "/", "PermissionsBoundary": boundary},
        {"RoleName": "refused-d", "Path": "/cicd/", "PermissionsBoundary": boundary},
    ]
    for change in wrong:
        assert "iam:CreateRole" in refusal(iam.create_role, **{**request, **change})


def test_the_boundary_can_be_neither_removed_nor_changed(deployer: Deployer) -> None:
    iam, boundary = deployer.client("iam"), deployer.job.boundary(deployer.account)
    iam.put_role_policy(RoleName=deployer.role, PolicyName="more", PolicyDocument=SEND)
    message = refusal(iam.delete_role_permissions_boundary, RoleName=deployer.role)
    assert "iam:DeleteRolePermissionsBoundary" in message
    assert "explicit deny" in message, "the boundary denies its own removal"
    assert "iam:DeletePolicy" in refusal(iam.delete_policy, PolicyArn=boundary)
    assert "iam:CreatePolicyVersion" in refusal(
        iam.create_policy_version, PolicyArn=boundary, PolicyDocument=ANYTHING, SetAsDefault=True
    )
    assert "iam:UpdateAssumeRolePolicy" in refusal(
        iam.update_assume_role_policy, RoleName=deployer.role, PolicyDocument=TRUST
    )


def test_only_roles_of_deployments_can_be_passed_to_services(deployer: Deployer) -> None:
    ecs = deployer.client("ecs")
    own_role = deployer.arn("/deploy/", deployer.role)
    registered = ecs.register_task_definition(
        family=deployer.name, taskRoleArn=own_role, containerDefinitions=CONTAINERS
    )
    assert registered["taskDefinition"]["taskRoleArn"] == own_role
    foreign = deployer.arn("/", "OrganizationAccountAccessRole")
    for role in (*deployer.platform_roles(), foreign):
        for field in ("taskRoleArn", "executionRoleArn"):
            message = refusal(
                ecs.register_task_definition, family=deployer.name, containerDefinitions=CONTAINERS, **{field: role}
            )
            assert "iam:PassRole" in message, f"{role} as {field}"


def test_the_platform_s_roles_can_be_neither_changed_nor_assumed(deployer: Deployer) -> None:
    iam, sts = deployer.client("iam"), deployer.client("sts")
    assert sts.get_caller_identity()["Account"] == deployer.job.settings.accounts[deployer.account].id
    iam.put_role_policy(RoleName=deployer.role, PolicyName="more", PolicyDocument=SEND)
    for arn in deployer.platform_roles():
        name = arn.rpartition("/")[2]
        assert "iam:PutRolePolicy" in refusal(
            iam.put_role_policy, RoleName=name, PolicyName="more", PolicyDocument=ANYTHING
        )
        assert "iam:AttachRolePolicy" in refusal(
            iam.attach_role_policy, RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess"
        )
        assert "iam:UpdateAssumeRolePolicy" in refusal(
            iam.update_assume_role_policy, RoleName=name, PolicyDocument=TRUST
        )
        assert "iam:DeleteRole" in refusal(iam.delete_role, RoleName=name)
        assert "sts:AssumeRole" in refusal(sts.assume_role, RoleArn=arn, RoleSessionName="refused")
