"""Deployments of application teams, through each profile of each class, with the job's own identity.

State goes through OpenTofu's S3 backend with its lock file. The deployed resources are `terraform_data`, because the real AWS provider is
not available. Images, services and routes go through the AWS CLI and the API requests of the provider. The further calls of tools (tags,
reads) are evaluated on the documents: tests/components/documents/test_deployment_tool_calls.py.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import pytest
import requests

from config import load
from config.capabilities import Capability
from tests.support.deploying import Job, documented

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_sandbox import Sandbox

pytestmark = pytest.mark.sandbox

BACKEND = documented("backend.tf")
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def profiles_with(*capabilities: Capability) -> Iterator[tuple[str, str, str]]:
    """Yield each stack, class and profile with these capabilities in the account."""
    for stack in ("dev", "prod"):
        settings = load.of_stack(stack)
        for runner_class, runner in settings.runners.items():
            for name, account in settings.accounts_of(runner_class).items():
                if set(capabilities) <= set(account.capabilities(runner.level)):
                    yield stack, runner_class, name


def backend(job: Job, account: str, project: str, *, profile: bool = True) -> str:
    """Return the documented file for a job's own account and level."""
    text = BACKEND.replace("o-senncloud01-state-333333333333-eu-central-1", job.state_bucket(account))
    text = text.replace("open/orders/terraform.tfstate", job.state_key(project))
    line = '    profile      = "dev"\n'
    assert line in text
    return text.replace(line, f'    profile      = "{account}"\n' if profile else "")


def checkout(folder: Path, text: str) -> Path:
    project = folder / "project"
    project.mkdir()
    (project / "backend.tf").write_text(text, encoding="utf-8")
    return project


def apply(job: Job, project: Path, more: dict[str, str] | None = None) -> None:
    for command in (("init", "-input=false"), ("apply", "-input=false", "-auto-approve")):
        done = job.tofu(project, *command, more=more)
        assert done.returncode == 0, f"{job.runner_class}: tofu {command[0]}\n{done.stdout}\n{done.stderr}"


def stored(job: Job, account: str, project: str) -> dict[str, Any]:
    """Return a project's state, read by the job itself."""
    answer = job.client("s3", account).get_object(Bucket=job.state_bucket(account), Key=job.state_key(project))
    assert answer["ServerSideEncryption"] == "aws:kms", "the bucket encrypts with the account's key"
    state: dict[str, Any] = json.loads(answer["Body"].read())
    return state


@pytest.mark.parametrize(("stack", "runner_class", "account"), list(profiles_with(Capability.STATE)))
def test_each_profile_can_keep_state(
    sandbox: Sandbox, tmp_path: Path, stack: str, runner_class: str, account: str
) -> None:
    job, project = Job(sandbox, stack, runner_class, tmp_path), f"state-{runner_class}"
    folder = checkout(tmp_path, backend(job, account, project))
    apply(job, folder)
    state = stored(job, account, project)
    assert [resource["type"] for resource in state["resources"]] == ["terraform_data"]
    second = job.tofu(folder, "plan", "-input=false", "-detailed-exitcode")
    assert second.returncode == 0, f"a second plan changes nothing: {second.stdout}"
    objects = job.client("s3", account).list_objects_v2(Bucket=job.state_bucket(account), Prefix=job.state_key(project))
    assert [item["Key"] for item in objects["Contents"]] == [job.state_key(project)], "the lock file is removed"


@pytest.mark.parametrize("runner_class", ["small", "medium", "big"])
def test_the_same_files_deploy_from_every_class_with_the_variable(
    sandbox: Sandbox, tmp_path: Path, runner_class: str
) -> None:
    job = Job(sandbox, "prod", runner_class, tmp_path)
    folder = checkout(tmp_path, backend(job, "dev", "shared", profile=False))
    apply(job, folder, {"AWS_PROFILE": "dev"})
    assert stored(job, "dev", "shared")["resources"]


def test_a_lock_stops_a_deployment_and_can_be_removed(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    folder = checkout(tmp_path, backend(job, "dev", "locked"))
    apply(job, folder)
    s3, bucket, key = job.client("s3", "dev"), job.state_bucket("dev"), job.state_key("locked")
    holder = {
        "ID": "3f0cba0e-0000-4000-8000-000000000000",
        "Operation": "OperationTypeApply",
        "Who": "a killed job",
        "Path": f"{bucket}/{key}",
    }
    s3.put_object(Bucket=bucket, Key=f"{key}.tflock", Body=json.dumps(holder).encode())
    held = job.tofu(folder, "apply", "-input=false", "-auto-approve")
    assert held.returncode == 1
    assert "Error acquiring the state lock" in held.stderr
    assert "a killed job" in held.stderr, "the message names the holder"
    freed = job.tofu(folder, "force-unlock", "-force", holder["ID"])
    assert freed.returncode == 0, freed.stderr
    apply(job, folder)


def test_workspaces_stay_below_the_level_s_prefix(sandbox: Sandbox, tmp_path: Path) -> None:
    job = Job(sandbox, "prod", "small", tmp_path)
    text = backend(job, "dev", "spaces")
    prefixed = text.replace("    use_lockfile", '    workspace_key_prefix = "open/spaces"\n    use_lockfile')
    folder = checkout(tmp_path, prefixed)
    apply(job, folder)
    created = job.tofu(folder, "workspace", "new", "staging")
    assert created.returncode == 0, created.stderr
    assert "staging" in job.tofu(folder, "workspace", "list").stdout
    (folder / "backend.tf").write_text(text)
    again = job.tofu(folder, "init", "-input=false", "-reconfigure", more={"TF_WORKSPACE": "staging"})
    refused = job.tofu(folder, "apply", "-input=false", "-auto-approve", more={"TF_WORKSPACE": "staging"})
    assert again.returncode or refused.returncode, "env: is outside every level's prefix"
    assert "AccessDenied" in again.stderr + refused.stderr or "403" in again.stderr + refused.stderr


@pytest.mark.parametrize(("stack", "runner_class", "account"), list(profiles_with(Capability.ECR_PUSH)))
def test_an_image_is_pushed_through_each_profile(
    sandbox: Sandbox, tmp_path: Path, stack: str, runner_class: str, account: str
) -> None:
    """Send the requests of a builder (login, check, upload, manifest), and pull the image."""
    job = Job(sandbox, stack, runner_class, tmp_path)
    settings, level = job.settings, job.settings.runners[runner_class].level
    registry = f"{settings.accounts[account].id}.dkr.ecr.{settings.organization.region}.amazonaws.com"
    repository = f"{settings.names.repository_prefix(level)}apps"
    login = job.run(["aws", "ecr", "get-login-password", "--profile", account], tmp_path)
    assert login.returncode == 0, login.stderr
    with requests.Session() as session:
        session.auth, session.headers["host"] = ("AWS", login.stdout.strip()), registry
        base = f"{job.endpoint}/v2/{repository}"
        digests = [upload(session, base, blob) for blob in (b"{}", f"layer of {stack} {runner_class}".encode())]
        document = json.dumps(manifest(digests)).encode()
        url = f"{base}/manifests/{runner_class}-{hashlib.sha256(document).hexdigest()[:8]}-{tmp_path.name}"
        pushed = session.put(url, data=document, headers={"content-type": MANIFEST}, timeout=30)
        assert pushed.status_code == 201, pushed.text
        assert session.get(url, headers={"accept": MANIFEST}, timeout=30).content == document
        changed = session.put(url, data=document + b" ", headers={"content-type": MANIFEST}, timeout=30)
        assert changed.status_code != 201, "a tag never changes"


def upload(session: requests.Session, base: str, blob: bytes) -> str:
    """Upload a blob unless the repository has it, and return its digest."""
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    if session.head(f"{base}/blobs/{digest}", timeout=30).status_code == 200:
        return digest
    started = session.post(f"{base}/blobs/uploads/", timeout=30)
    assert started.status_code == 202, started.text
    location = started.headers["location"]
    path = location if location.startswith("/") else "/v2/" + location.partition("/v2/")[2]
    root = base.partition("/v2/")[0]
    done = session.put(f"{root}{path}", params={"digest": digest}, data=blob, timeout=30)
    assert done.status_code == 201, done.text
    return digest


def manifest(digests: list[str]) -> dict[str, Any]:
    config, *layers = digests
    return {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2},
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layer, "size": 1} for layer in layers
        ],
    }
