"""What a shell needs to use the sandbox with plain `pulumi`, `aws` and `kubectl`.

Owns the variables that `sandbox env` prints, the AWS config and credentials files, the `aws` shim and the kubeconfig.
All of it lives below the sandbox's root: the person's own AWS and Kubernetes files are neither read nor written. The
keys, the passphrase and the GitLab token here are public and worth nothing outside this machine.

Two variables are for who plays a job beside the clusters (docs/operate/prove.md): `RUNNER_PLATFORM_JOB_ENDPOINT` is the listener of AWS that
takes no root keys, and `RUNNER_PLATFORM_SIGNING_KEYS` a folder with `<last part of the issuer>/keys/service-account.key` for each
cluster.
"""

from __future__ import annotations

import configparser
import json
import os
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox import organization as organizations
from runner_platform_sandbox import state
from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.paths import PUBLIC_PASSPHRASE
from runner_platform_sandbox.tools.discovery import Tools
from runner_platform_sandbox.tools.errors import ToolsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.organization import Organization
    from runner_platform_sandbox.paths import Paths
    from runner_platform_sandbox.state import ClusterState, State


_FOREIGN: Final = ("AWS_", "PULUMI_", "GITLAB_", "CI_", "KUBE", "HELM_", "PYTHON", "VIRTUAL_ENV", "UV_")
GITLAB_TOKEN: Final = "glpat-sandbox-public"  # noqa: S105 - public: only the fake GitLab on loopback takes it


def variables(paths: Paths) -> dict[str, str]:
    """The environment of a running sandbox.

    Args:
        paths: Which sandbox.

    Returns:
        Variable names and values; PATH holds the caller's own PATH behind the sandbox's folders.

    Raises:
        SandboxError: The sandbox does not run, or a tool is missing.
    """
    current = state.read(paths)
    if current is None or not current.running:
        raise SandboxError("the sandbox is not running", "start it with `runner-platform sandbox start` (or `make up`)")
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
        "RUNNER_PLATFORM_CACHE": str(paths.cache),
        "RUNNER_PLATFORM_SANDBOX": str(paths.root),
    }


def _aws_variables(paths: Paths, current: State) -> dict[str, str]:
    endpoint = f"http://127.0.0.1:{current.ports.aws}"
    default_region = region(paths)
    return {
        "AWS_CONFIG_FILE": str(config_file(paths)),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials_file(paths)),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "AWS_ENDPOINT_URL_IAM": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_DEFAULT_REGION": default_region,
        "AWS_REGION": default_region,
    }


def inherited() -> dict[str, str]:
    """The caller's environment without what belongs to a real cloud, a backend, a cluster, or another Python."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}


def shell(values: Mapping[str, str]) -> str:
    """Lines for `eval` in any POSIX shell; also takes back what would lead away from the sandbox."""
    unset = "unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN PULUMI_ACCESS_TOKEN\n"
    return unset + "".join(f"export {name}={shlex.quote(value)}\n" for name, value in values.items())


def install(paths: Paths, current: State, organization: Organization) -> None:
    """Write the AWS files, the shim and the kubeconfig; files that are right already are left alone."""
    _write_aws_files(paths, organization, current.run_id)
    shim = paths.bin / "aws"
    real = shutil.which("aws", path=_without(paths, os.environ.get("PATH", os.defpath)))
    program = real or str(Path(sys.prefix) / "bin" / "aws")
    # The CLI caches assumed roles below HOME, by role and not by endpoint: they must not meet those of a real cloud.
    text = f'#!/bin/sh\nHOME={shlex.quote(str(paths.home))} exec {shlex.quote(program)} "$@"\n'
    if not shim.is_file() or shim.read_text() != text:
        state.replace(shim, text, mode=0o700)
    write_kubeconfig(paths, current, organization)


def kubeconfig_file(paths: Paths) -> Path:
    """The kubeconfig of `kubectl` in the sandbox."""
    return paths.home / ".kube" / "config"


def write_kubeconfig(paths: Paths, current: State, organization: Organization) -> None:
    """Write a context for each cluster that is up; the context chosen by the person stays chosen."""
    file = kubeconfig_file(paths)
    active = [cluster for cluster in current.clusters if cluster.status == "ACTIVE"]
    names = [cluster.name for cluster in active]
    chosen = _chosen(file)
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "preferences": {},
        "clusters": [_cluster_entry(cluster) for cluster in active],
        "users": [_user_entry(paths, current, cluster, organization) for cluster in active],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": chosen if chosen in names else (names[0] if names else ""),
    }
    text = json.dumps(document, indent=1) + "\n"  # JSON is YAML
    if not file.is_file() or file.read_text() != text:
        state.replace(file, text)


def _cluster_entry(cluster: ClusterState) -> dict[str, Any]:
    reach = {"server": cluster.endpoint, "certificate-authority-data": cluster.certificate_authority}
    return {"name": cluster.name, "cluster": reach}


def _user_entry(paths: Paths, current: State, cluster: ClusterState, organization: Organization) -> dict[str, Any]:
    profile = f"platform-{organization.name_of(cluster.account)}"
    endpoint = f"http://127.0.0.1:{current.ports.aws}"
    arguments = ["eks", "get-token", "--cluster-name", cluster.name, "--region", cluster.region, "--profile", profile]
    surroundings = {
        "AWS_CONFIG_FILE": str(config_file(paths)),
        "AWS_SHARED_CREDENTIALS_FILE": str(credentials_file(paths)),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ENDPOINT_URL_STS": endpoint,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    command = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": str(paths.bin / "aws"),
        "args": [*arguments, "--output", "json"],
        "env": [{"name": name, "value": value} for name, value in surroundings.items()],
        "interactiveMode": "Never",
    }
    return {"name": cluster.name, "user": {"exec": command}}


def _chosen(file: Path) -> str:
    """The current context of an existing kubeconfig; `kubectl config use-context` rewrites it as YAML."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        key, _, value = line.strip().rstrip(",").partition(":")
        if key.strip('"') == "current-context":
            return value.strip().strip('"')
    return ""


def _path(paths: Paths) -> str:
    """The sandbox's folders, the virtual environment, the tools, then what the caller has; each once."""
    try:
        folders = [str(folder) for folder in Tools.find(paths).path_folders()]
    except ToolsError as error:
        raise SandboxError(str(error)) from error
    ours = [str(paths.bin), str(Path(sys.prefix) / "bin"), *folders]
    theirs = [folder for folder in os.environ.get("PATH", os.defpath).split(os.pathsep) if folder not in ours]
    return os.pathsep.join([*dict.fromkeys(ours), *theirs])


def _without(paths: Paths, path: str) -> str:
    return os.pathsep.join(folder for folder in path.split(os.pathsep) if folder != str(paths.bin))


OPERATOR_ROLE: Final = "platform-operator"
MANAGEMENT: Final = "management"
"""Profile of the management account's root."""
OPERATOR: Final = "operator"
"""Profile of the person who deploys the platform."""
LONGEST_SESSION: Final = 64
"""Characters of a role session name (API reference of STS, AssumeRole)."""


@dataclass(frozen=True)
class _Account:
    id: str


def config_file(paths: Paths) -> Path:
    """AWS_CONFIG_FILE."""
    return paths.home / ".aws" / "config"


def credentials_file(paths: Paths) -> Path:
    """AWS_SHARED_CREDENTIALS_FILE."""
    return paths.home / ".aws" / "credentials"


def region(paths: Paths) -> str:
    """The organisation's region, as the aws_config file has it."""
    parser = configparser.ConfigParser()
    parser.read(config_file(paths))
    return parser.get("profile management", "region", fallback="eu-central-1")


def _write_aws_files(paths: Paths, organization: Organization, run_id: str) -> None:
    """Write both files if they are not right already."""
    files = {config_file(paths): aws_config(organization, run_id), credentials_file(paths): aws_credentials()}
    for file, text in files.items():
        if not file.is_file() or file.read_text() != text:
            state.replace(file, text)


def aws_config(organization: Organization, run_id: str) -> str:
    """Text of the aws_config file."""
    # Here, because the names come with the settings' types: `sandbox env` only reads what was written, and must be fast.
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


def session_name(purpose: str, run_id: str) -> str:
    """A role session name; a purpose that is too long is cut, never the run id, which tells sandboxes apart."""
    ending = f"-{run_id}"
    return purpose[: LONGEST_SESSION - len(ending)] + ending


def aws_credentials() -> str:
    """Text of the credentials file: the management account's root, whose key id is the account id in the sandbox."""
    return f"[{MANAGEMENT}]\naws_access_key_id = {organizations.MANAGEMENT_ACCOUNT}\naws_secret_access_key = sandbox\n"
