"""The environment of a shell that uses the sandbox with plain `pulumi`, `aws`, `kubectl` and `helm`.

`sandbox env` prints the variables. The AWS config and credentials files, the `aws` shim and the kubeconfig lie below
the sandbox's root; the person's own AWS and Kubernetes files are neither read nor written. The keys, the passphrase and
the GitLab token are public and worth nothing outside this machine.

The AWS profiles `management` (root of the management account) and `operator` belong to the sandbox. The platform's own,
`platform-<account>` and `foundation-<account>`, come from `components.documents.profiles`, as `runner-platform profiles`
prints them. Session names end with the sandbox's run id: the AWS CLI caches sessions by role, and a session of an
earlier sandbox must not be used in this one.

Three variables are for a job outside of its place (docs/operate/prove.md). `RUNNER_PLATFORM_JOB_ENDPOINT` is the jobs' listener
of AWS, which takes no root keys. `RUNNER_PLATFORM_SIGNING_KEYS` is a folder with
`<last part of the issuer>/keys/service-account.key` for each cluster. `RUNNER_PLATFORM_MACHINES` is the command that plays an
instance of a group.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox import disk, state
from runner_platform_sandbox import organization as organizations
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import PUBLIC_PASSPHRASE
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import ClusterState, State

_FOREIGN: Final = ("AWS_", "PULUMI_", "GITLAB_", "CI_", "KUBE", "HELM_", "PYTHON", "VIRTUAL_ENV", "UV_")
"""Prefixes of variables that belong to a real cloud, a backend, a cluster, or another Python."""
_SELECTING: Final = (
    *("AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("AWS_ACCESS_KEY", "AWS_SECRET_KEY", "AWS_SECURITY_TOKEN", "AWS_CREDENTIAL_FILE", "BOTO_CONFIG"),
    *("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_SESSION_NAME", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"),
    *("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"),
    *("AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "PULUMI_ACCESS_TOKEN"),
)
"""Variables by which an SDK or the engine takes another identity or another server than the sandbox's."""
_TASTE: Final = ("AWS_PAGER", "AWS_CLI_")
"""Prefixes of variables that change how the AWS CLI looks."""
GITLAB_TOKEN: Final = "glpat-sandbox-public"  # noqa: S105 - public: only the sandbox's GitLab on loopback takes it
OPERATOR_ROLE: Final = "platform-operator"
MANAGEMENT: Final = "management"
"""Profile of the management account's root."""
OPERATOR: Final = "operator"
"""Profile of the person who deploys the platform."""
LONGEST_SESSION: Final = 64
"""Characters of a role session name (API reference of STS, AssumeRole)."""


def variables(paths: Paths) -> dict[str, str]:
    """Return the environment variables of a running sandbox.

    Args:
        paths: The sandbox.

    Returns:
        Values by name. In PATH the sandbox's folders come before the caller's own.

    Raises:
        SandboxError: The sandbox does not run, or a tool is missing.
    """
    current = state.read(paths)
    if current is None or not current.running:
        raise SandboxError("the sandbox is not running", "start it: `runner-platform sandbox start`, or `make up`")
    helm = paths.home / "helm"
    return {
        "PATH": _path(paths),
        **_aws_variables(paths, current),
        "PULUMI_HOME": str(paths.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{paths.backend}",
        "PULUMI_CONFIG_PASSPHRASE": PUBLIC_PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "HELM_CACHE_HOME": str(helm / "cache"),
        "HELM_CONFIG_HOME": str(helm / "config"),
        "HELM_DATA_HOME": str(helm / "data"),
        "KUBECONFIG": str(kubeconfig_file(paths)),
        "KUBECACHEDIR": str(paths.home / ".kube" / "cache"),
        "GITLAB_BASE_URL": f"http://127.0.0.1:{current.ports.gitlab}/api/v4/",
        "GITLAB_TOKEN": GITLAB_TOKEN,
        "RUNNER_PLATFORM_JOB_ENDPOINT": f"http://127.0.0.1:{current.ports.aws_jobs}",
        "RUNNER_PLATFORM_SIGNING_KEYS": str(paths.clusters),
        "RUNNER_PLATFORM_MACHINES": shlex.join([sys.executable, "-m", "runner_platform_sandbox.machines.instance"]),
        "RUNNER_PLATFORM_CACHE": str(paths.cache),
        "RUNNER_PLATFORM_SANDBOX": str(paths.root),
    }


def inherited() -> dict[str, str]:
    """Return the caller's environment without variables of a real cloud, a backend, a cluster, or another Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def shell(values: Mapping[str, str]) -> str:
    """Return lines for `eval` in any POSIX shell. They also unset the variables that lead to a real cloud.

    These are a fixed list, and every other variable of AWS in the environment of this process, which is that of the shell.
    """
    present = (name for name in os.environ if name.startswith("AWS_") and not name.startswith(_TASTE))
    unset = f"unset {' '.join(sorted({*_SELECTING, *present} - set(values)))}\n"
    return unset + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def install(paths: Paths, current: State, organization: Organization) -> None:
    """Write the AWS files, the `aws` shim and the kubeconfig; a file that is right already is left alone."""
    _write(aws_config_file(paths), aws_config(organization, current.run_id))
    _write(aws_credentials_file(paths), aws_credentials())
    real = shutil.which("aws", path=_without(paths, os.environ.get("PATH", os.defpath)))
    program = real or str(Path(sys.prefix) / "bin" / "aws")
    # The CLI caches assumed roles below HOME, by role and not by endpoint: they must not meet those of a real cloud.
    shim = f'#!/bin/sh\nHOME={shlex.quote(str(paths.home))} exec {shlex.quote(program)} "$@"\n'
    _write(paths.bin / "aws", shim, mode=0o700)
    write_kubeconfig(paths, current, organization)


def _write(file: Path, text: str, *, mode: int = 0o600) -> None:
    if not file.is_file() or file.read_text() != text:
        disk.replace(file, text, mode=mode)


def _path(paths: Paths) -> str:
    """Return PATH: the sandbox's folders, the virtual environment, the tools, then the caller's folders."""
    folders = [str(folder) for folder in Tools.find(paths).path_folders()]
    ours = [str(paths.bin), str(Path(sys.prefix) / "bin"), *folders]
    theirs = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder not in ours]
    return os.pathsep.join([*dict.fromkeys(ours), *theirs])


def _without(paths: Paths, path: str) -> str:
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder != str(paths.bin))


# AWS


def aws_config_file(paths: Paths) -> Path:
    """Return the path for AWS_CONFIG_FILE."""
    return paths.home / ".aws" / "config"


def aws_credentials_file(paths: Paths) -> Path:
    """Return the path for AWS_SHARED_CREDENTIALS_FILE."""
    return paths.home / ".aws" / "credentials"


def aws_config(organization: Organization, run_id: str) -> str:
    """Return the text of the AWS config file."""
    # Imported here because it brings the settings' types along: `sandbox env` only reads the written file, and is fast.
    from components.documents import profiles  # noqa: PLC0415

    region_keys = {"region": organization.region, "sts_regional_endpoints": "regional"}
    home = organization.accounts[organization.home]
    accounts = {name: _Account(account) for name, account in organization.accounts.items()}
    callers = {
        f"profile {MANAGEMENT}": region_keys,
        f"profile {OPERATOR}": {
            "role_arn": f"arn:{organization.partition}:iam::{home}:role/{OPERATOR_ROLE}",
            "source_profile": MANAGEMENT,
            "role_session_name": session_name(OPERATOR, run_id),
            **region_keys,
        },
    }
    return "\n".join(
        (
            profiles.aws_config_text(callers),
            profiles.platform_profiles(
                organization,
                accounts,
                role="deployer",
                source_profile=OPERATOR,
                session=session_name(profiles.SESSION, run_id),
            ),
            profiles.foundation_profiles(
                organization,
                accounts,
                source_profile=MANAGEMENT,
                session=session_name(profiles.FOUNDATION_SESSION, run_id),
            ),
        )
    )


@dataclass(frozen=True)
class _Account:
    id: str


def session_name(purpose: str, run_id: str) -> str:
    """Return a role session name. A long purpose is cut; the run id, by which sandboxes differ, never is."""
    ending = f"-{run_id}"
    return purpose[: LONGEST_SESSION - len(ending)] + ending


def aws_credentials() -> str:
    """Return the text of the credentials file: the management account's root. In the sandbox its key id is the account id."""
    return f"[{MANAGEMENT}]\naws_access_key_id = {organizations.MANAGEMENT_ACCOUNT}\naws_secret_access_key = sandbox\n"


def _aws_variables(paths: Paths, current: State) -> dict[str, str]:
    endpoint = f"http://127.0.0.1:{current.ports.aws}"
    region = _region(paths)
    return {
        "AWS_CONFIG_FILE": str(aws_config_file(paths)),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws_credentials_file(paths)),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ENDPOINT_URL_IAM": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": region,
        "AWS_REGION": region,
    }


def _region(paths: Paths) -> str:
    """Return the organisation's region, as the config file has it."""
    try:
        text = aws_config_file(paths).read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    region = re.search(r"^region\s*=\s*([a-z0-9-]+)", text, re.MULTILINE)
    return region[1] if region else "eu-central-1"


# kubectl


def kubeconfig_file(paths: Paths) -> Path:
    """Return the path of the kubeconfig."""
    return paths.home / ".kube" / "config"


def write_kubeconfig(paths: Paths, current: State, organization: Organization) -> None:
    """Write a context for each active cluster. The person's current context stays if its cluster does."""
    file = kubeconfig_file(paths)
    active = [cluster for cluster in current.clusters if cluster.status == "ACTIVE"]
    names = [cluster.name for cluster in active]
    context = _current_context(file)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [_cluster_entry(cluster) for cluster in active],
        "users": [_user_entry(paths, current, cluster, organization) for cluster in active],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": context if context in names else (names[0] if names else ""),
    }
    _write(file, json.dumps(document, indent=1) + "\n")  # JSON is YAML


def _cluster_entry(cluster: ClusterState) -> dict[str, Any]:
    connection = {"server": cluster.endpoint, "certificate-authority-data": cluster.certificate_authority}
    return {"name": cluster.name, "cluster": connection}


def _user_entry(paths: Paths, current: State, cluster: ClusterState, organization: Organization) -> dict[str, Any]:
    profile = f"platform-{organization.name_of(cluster.account)}"
    endpoint = f"http://127.0.0.1:{current.ports.aws}"
    arguments = ["eks", "get-token", "--cluster-name", cluster.name, "--region", cluster.region, "--profile", profile]
    variables = {
        "AWS_CONFIG_FILE": str(aws_config_file(paths)),
        "AWS_SHARED_CREDENTIALS_FILE": str(aws_credentials_file(paths)),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": str(paths.bin / "aws"),
        "args": [*arguments, "--output", "json"],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "interactiveMode": "Never",
    }
    return {"name": cluster.name, "user": {"exec": command}}


def _current_context(file: Path) -> str:
    """Return the current context of a kubeconfig in JSON or YAML: `kubectl config use-context` rewrites it as YAML."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.strip().rstrip(",").partition(":")
        if key.strip('"') == "current-context":
            return value.strip().strip('"')
    return ""
