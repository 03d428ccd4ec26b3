"""A job that deploys: its identity as files and variables, credentials by profile, SDK clients, and OpenTofu.

Credentials are resolved by a process that has nothing but the job's files and variables; what is then sent with them goes to the listener
that takes no root keys. Whether each SDK resolves a profile alike is `prove`'s to show, not this file's.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from config import load
from config.names import state_bucket
from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.organization import PROJECT
from runner_platform_sandbox.tools.result import Tools
from tests.support import job_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.capabilities import Level
    from config.settings import Settings
    from tests.support.live import Sandbox

EXPORT = """
import boto3, json, sys
found = boto3.Session(profile_name=sys.argv[1] or None).get_credentials().get_frozen_credentials()
print(json.dumps({"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key, "aws_session_token": found.token}))
"""
REFUSED = {"AccessDenied", "AccessDeniedException", "403"}
SECONDS = 300
"""Longest command of a job; OpenTofu takes three on an idle machine."""
NO_RETRIES = Config(retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Job:
    """A job of a class in a stack, with a folder that stands for its home and checkout."""

    sandbox: Sandbox
    stack: str
    runner_class: str
    folder: Path

    @cached_property
    def settings(self) -> Settings:
        return load.of_stack(self.stack)

    @cached_property
    def variables(self) -> dict[str, str]:
        """What the build container sees, and where its requests go in the sandbox.

        The Go SDK's own calls to STS heed the service's variable alone, so each service has one beside the common one.
        """
        name = self.settings.names.cluster
        kubeconfig = next(each.kubeconfig for each in self.sandbox.state().clusters if each.name == name)
        client = KubeClient.from_kubeconfig(Path(kubeconfig))
        try:
            identity = job_pods.write_identity(client, self.runner_class, self.folder)
        finally:
            client.close()
        endpoints = {f"AWS_ENDPOINT_URL{suffix}": self.endpoint for suffix in ("", "_STS", "_S3", "_IAM")}
        tools = Tools.find(self.sandbox.paths)
        path = os.pathsep.join([str(tools.tofu.parent), str(Path(sys.executable).parent), os.defpath])
        return {**identity, **endpoints, "HOME": str(self.folder), "PATH": path, "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.sandbox.state().ports.aws_jobs}"

    def state_bucket(self, account: str) -> str:
        """State bucket of an account by its name."""
        return state_bucket(self.settings.organization, self.settings.accounts[account].id)

    def state_key(self, project: str, level: Level | None = None) -> str:
        """Key of a project's state, of the job's own level or another."""
        own = self.settings.runners[self.runner_class].level
        return f"{self.settings.names.state_prefix(level or own)}{project}/terraform.tfstate"

    def boundary(self, account: str) -> str:
        return self.settings.names.boundary_arn(self.settings.accounts[account].id)

    def client(self, service: str, profile: str) -> Any:
        """SDK client of a service with a profile's credentials."""
        return self._client(service, self.endpoint, self.credentials(profile))

    def with_profile(self, profile: str) -> Callable[[str], Any]:
        """Clients with a profile's credentials, by service."""
        return lambda service: self.client(service, profile)

    def as_root(self, account: str) -> Callable[[str], Any]:
        """Clients of the account itself, by service: what a test prepares and looks after with, never what it tries."""
        endpoint = f"http://127.0.0.1:{self.sandbox.state().ports.aws}"
        keys = {"aws_access_key_id": self.settings.accounts[account].id, "aws_secret_access_key": "root"}
        return lambda service: self._client(service, endpoint, keys)

    def _client(self, service: str, endpoint: str, keys: Mapping[str, str]) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # the service's name is not a literal here
            service,
            region_name=self.settings.organization.region,
            endpoint_url=endpoint,
            config=NO_RETRIES,
            **keys,
        )

    @cached_property
    def _resolved(self) -> dict[str, dict[str, str]]:
        return {}

    def credentials(self, profile: str) -> dict[str, str]:
        """Keys of a profile, resolved once: they last an hour."""
        if profile not in self._resolved:
            self._resolved[profile] = self._resolve(profile)
        return self._resolved[profile]

    def _resolve(self, profile: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", EXPORT, profile],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{self.runner_class} as {profile}: {done.stderr}"
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def run(
        self, command: list[str], folder: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A line of the job's script, in a folder of its checkout."""
        return subprocess.run(
            command,
            cwd=folder,
            env={**self.variables, **(more or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def tofu(
        self, folder: Path, *arguments: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """OpenTofu in `folder`, with `more` variables."""
        quiet = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": str(self._providers())}
        return self.run(["tofu", *arguments, "-no-color"], folder, {**quiet, **(more or {})})

    def _providers(self) -> Path:
        """OpenTofu's own configuration: the AWS provider is the stand-in in a mirror of the job's, no other exists."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        mirror = self.folder / "providers"
        place = (
            mirror / "registry.opentofu.org" / "hashicorp" / "aws" / "6.0.0" / f"{platform.system().lower()}_{machine}"
        )
        if not place.exists():
            place.mkdir(parents=True)
            shutil.copy(Tools.find(self.sandbox.paths).terraform_provider, place / "terraform-provider-aws_v6.0.0")
        configuration = self.folder / "tofurc"
        configuration.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        return configuration


def documented(name: str) -> str:
    """The block of docs/use/deploying.md whose first line names it, as a user copies it."""
    text = (PROJECT / "docs" / "use" / "deploying.md").read_text(encoding="utf-8")
    found = re.findall(rf"```\w+\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    assert len(found) == 1, f"docs/use/deploying.md has {len(found)} blocks of {name}"
    return str(found[0])


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """Send a request that must be refused for want of permission; returns the message, which names the action."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] in REFUSED, f"refused, but for another reason: {refused.value}"
    return str(refused.value)
