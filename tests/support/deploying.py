"""A job that deploys: its identity as files and variables, credentials by profile, SDK clients, and OpenTofu.

A process with the job's files and variables alone resolves the credentials. Requests with them go to the listener that accepts no root
keys. `prove` shows that all SDKs resolve profiles in the same way.
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
from runner_platform_sandbox.tools.discovery import Tools
from tests.support import job_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.capabilities import Level
    from config.settings import Settings
    from tests.support.running_sandbox import Sandbox

EXPORT = """
import boto3, json, sys
keys = boto3.Session(profile_name=sys.argv[1] or None).get_credentials().get_frozen_credentials()
print(json.dumps({"aws_access_key_id": keys.access_key, "aws_secret_access_key": keys.secret_key, "aws_session_token": keys.token}))
"""
REFUSED = {"AccessDenied", "AccessDeniedException", "403"}
SECONDS = 300
"""Time limit for a command of a job; OpenTofu takes three seconds on an idle machine."""
NO_RETRIES = Config(retries={"total_max_attempts": 1})


@dataclass(frozen=True)
class Job:
    """A job of a class in a stack; `folder` is its home and checkout."""

    sandbox: Sandbox
    stack: str
    runner_class: str
    folder: Path

    @cached_property
    def settings(self) -> Settings:
        return load.of_stack(self.stack)

    @cached_property
    def variables(self) -> dict[str, str]:
        """Environment of the build container, with the endpoints of the sandbox.

        The Go SDK's own calls to STS read the variable of the service alone, so each service has one.
        """
        name = self.settings.names.cluster
        kubeconfig = next(cluster.kubeconfig for cluster in self.sandbox.state().clusters if cluster.name == name)
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
        """Return the state bucket of an account."""
        return state_bucket(self.settings.organization, self.settings.accounts[account].id)

    def state_key(self, project: str, level: Level | None = None) -> str:
        """Return the key of a project's state, by default for the job's own level."""
        own_level = self.settings.runners[self.runner_class].level
        return f"{self.settings.names.state_prefix(level or own_level)}{project}/terraform.tfstate"

    def boundary(self, account: str) -> str:
        return self.settings.names.boundary_arn(self.settings.accounts[account].id)

    def client(self, service: str, profile: str) -> Any:
        """Return an SDK client of a service with a profile's credentials."""
        return self._client(service, self.endpoint, self.credentials(profile))

    def with_profile(self, profile: str) -> Callable[[str], Any]:
        """Return a function that makes clients with a profile's credentials."""
        return lambda service: self.client(service, profile)

    def as_root(self, account: str) -> Callable[[str], Any]:
        """Return a function that makes clients with the account's root keys, for the preparations and checks of a test."""
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
        """Return the keys of a profile. They are resolved once and last an hour."""
        if profile not in self._resolved:
            self._resolved[profile] = self._resolve(profile)
        return self._resolved[profile]

    def _resolve(self, profile: str) -> dict[str, str]:
        process = subprocess.run(
            [sys.executable, "-c", EXPORT, profile],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )
        assert process.returncode == 0, f"{self.runner_class} as {profile}: {process.stderr}"
        keys: dict[str, str] = json.loads(process.stdout)
        return keys

    def run(
        self, command: list[str], folder: Path, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the job's script in a folder of its checkout."""
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
        """Run OpenTofu in `folder`, with `more` variables."""
        quiet = {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": str(self._providers())}
        return self.run(["tofu", *arguments, "-no-color"], folder, {**quiet, **(more or {})})

    def _providers(self) -> Path:
        """Write OpenTofu's configuration: a mirror of the job with the stand-in AWS provider alone."""
        machine = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
        mirror = self.folder / "providers"
        version = (
            mirror / "registry.opentofu.org" / "hashicorp" / "aws" / "6.0.0" / f"{platform.system().lower()}_{machine}"
        )
        if not version.exists():
            version.mkdir(parents=True)
            shutil.copy(Tools.find(self.sandbox.paths).terraform_provider, version / "terraform-provider-aws_v6.0.0")
        configuration = self.folder / "tofurc"
        configuration.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        return configuration


def documented(name: str) -> str:
    """Return a code block of docs/use/deploying.md by the name in its first line, as a user copies it."""
    text = (PROJECT / "docs" / "use" / "deploying.md").read_text(encoding="utf-8")
    blocks = re.findall(rf"```\w+\n(# {re.escape(name)}\n.*?)```", text, re.DOTALL)
    assert len(blocks) == 1, f"docs/use/deploying.md has {len(blocks)} blocks of {name}"
    return str(blocks[0])


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """Send a request that must be denied, and return AWS's message, which names the action."""
    with pytest.raises(ClientError) as error:
        call(**arguments)
    assert error.value.response["Error"]["Code"] in REFUSED, f"refused for another reason: {error.value}"
    return str(error.value)
