"""A job that deploys: its identity as files and variables, credentials by profile, SDK clients, and OpenTofu.

Credentials are resolved by a process that has nothing but the job's files and variables; what is then sent with them goes to the listener
that takes no root keys. Whether each SDK resolves a profile alike is `prove`'s to show, not this file's.
"""

from __future__ import annotations

import json
import os
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
from sandbox.kubernetes.client import KubeClient
from sandbox.tools.result import Tools
from tests.sandbox import job_pods

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from config.settings import Settings
    from tests.sandbox.live import Sandbox

EXPORT = """
import boto3, json, sys
found = boto3.Session(profile_name=sys.argv[1] or None).get_credentials().get_frozen_credentials()
print(json.dumps({"aws_access_key_id": found.access_key, "aws_secret_access_key": found.secret_key, "aws_session_token": found.token}))
"""
REFUSED = {"AccessDenied", "AccessDeniedException", "403"}
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
        """What the build container sees, and where its requests go in the sandbox."""
        name = self.settings.names.cluster
        kubeconfig = next(each.kubeconfig for each in self.sandbox.state().clusters if each.name == name)
        client = KubeClient.from_kubeconfig(Path(kubeconfig))
        try:
            identity = job_pods.write_identity(client, self.runner_class, self.folder)
        finally:
            client.close()
        here = {f"AWS_ENDPOINT_URL_{service}": self.endpoint for service in ("STS", "S3", "IAM")}
        return {**identity, **here, "HOME": str(self.folder), "AWS_EC2_METADATA_DISABLED": "true"}

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.sandbox.state().ports.aws_jobs}"

    def client(self, service: str, profile: str) -> Any:
        """SDK client of a service with a profile's credentials."""
        return boto3.client(  # type: ignore[call-overload]  # the service's name is not a literal here
            service,
            region_name=self.settings.organization.region,
            endpoint_url=self.endpoint,
            config=NO_RETRIES,
            **self.credentials(profile),
        )

    def credentials(self, profile: str) -> dict[str, str]:
        done = subprocess.run(
            [sys.executable, "-c", EXPORT, profile],
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{self.runner_class} as {profile}: {done.stderr}"
        found: dict[str, str] = json.loads(done.stdout)
        return found

    def tofu(
        self, folder: Path, *arguments: str, more: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """OpenTofu in `folder`, with the job's variables and `more`."""
        program = str(Tools.find(self.sandbox.paths).tofu)
        return subprocess.run(
            [program, *arguments, "-no-color"],
            cwd=folder,
            env={
                **self.variables,
                "PATH": os.defpath,
                "TF_IN_AUTOMATION": "1",
                "CHECKPOINT_DISABLE": "1",
                **(more or {}),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """Send a request that must be refused for want of permission; returns the message, which names the action."""
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    assert refused.value.response["Error"]["Code"] in REFUSED, f"refused, but for another reason: {refused.value}"
    return str(refused.value)
