"""A machine: a process that plays one instance of an Auto Scaling group.

`start` takes an instance in service, serves its metadata on loopback and reads its user data. The instance knows a machine
from then on, so a termination hook waits for it. The role's credentials come from the AWS server, which asks the role's
trust for `ec2.amazonaws.com`. Leaves out what the machine does: the caller runs the host's programs.
"""

from __future__ import annotations

import base64
import gzip
import json
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import yaml
from typing_extensions import override

from runner_platform_sandbox.errors import SandboxError
from runner_platform_sandbox.machines.metadata import MetadataService, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from runner_platform_sandbox.aws.client import AwsAdmin

_CLOUD_CONFIG: Final = "#cloud-config"
_MAC: Final = "02:00:00:00:00:01"
_GZIP: Final = b"\x1f\x8b"


class MachineError(SandboxError):
    """The instance cannot be played."""


class Machine(Source):
    """One instance of a group with its metadata."""

    def __init__(self, admin: AwsAdmin, account: str, region: str, description: Mapping[str, Any]) -> None:
        """Keep the description of the AWS server."""
        self._admin = admin
        self._where = {"account": account, "region": region, "instance": str(description["instance"])}
        self._description = description

    @property
    def instance(self) -> str:
        """Id of the instance."""
        return self._where["instance"]

    @property
    def hop_limit(self) -> int:
        """How many hops an answer with a token may travel; 1 keeps it on the host."""
        return int(self._description["metadata_options"]["HttpPutResponseHopLimit"])

    @property
    @override
    def token_required(self) -> bool:
        return bool(self._description["metadata_options"]["HttpTokens"] == "required")

    @property
    @override
    def enabled(self) -> bool:
        return bool(self._description["metadata_options"]["HttpEndpoint"] == "enabled")

    @property
    @override
    def user_data(self) -> bytes:
        return base64.b64decode(self._description["user_data"])

    @cached_property
    def cloud_config(self) -> dict[str, Any]:
        """The user data, unpacked and parsed.

        Raises:
            MachineError: It is not a `#cloud-config` document.
        """
        packed = self.user_data
        text = (gzip.decompress(packed) if packed.startswith(_GZIP) else packed).decode(errors="replace")
        document = yaml.safe_load(text) if text.startswith(_CLOUD_CONFIG) else None
        if not isinstance(document, dict):
            raise MachineError(
                f"instance {self.instance}: its user data is not a {_CLOUD_CONFIG} document",
                "look at the launch template of its group",
            )
        return document

    @property
    def state(self) -> str:
        """State of the instance in its group, such as `InService` or `Terminating:Wait`."""
        return str(self._admin.machine("state", **self._where)["state"])

    @override
    def texts(self) -> Mapping[str, str]:
        description, region = self._description, self._where["region"]
        identity = {
            "accountId": self._where["account"],
            "availabilityZone": description["zone"],
            "imageId": description["image"],
            "instanceId": self.instance,
            "instanceType": description["instance_type"],
            "region": region,
            "version": "2017-09-30",
        }
        return {
            "dynamic/instance-identity/document": json.dumps(identity, indent=2),
            "meta-data/ami-id": description["image"],
            "meta-data/autoscaling/target-lifecycle-state": self._admin.machine("state", **self._where)["target"],
            "meta-data/iam/info": json.dumps({"Code": "Success", "InstanceProfileArn": description["profile"]}),
            "meta-data/instance-id": self.instance,
            "meta-data/instance-type": description["instance_type"],
            "meta-data/mac": _MAC,
            "meta-data/network/interfaces/macs": f"{_MAC}/",
            f"meta-data/network/interfaces/macs/{_MAC}/vpc-ipv4-cidr-blocks": "\n".join(description["networks"]),
            "meta-data/placement/availability-zone": description["zone"],
            "meta-data/placement/region": region,
        }

    @override
    def credentials(self) -> tuple[str, dict[str, Any]]:
        answer = self._admin.machine("credentials", **self._where)
        return str(answer["role"]), dict(answer["document"])

    def detach(self) -> None:
        """Leave the instance; hooks that wait for this machine are complete."""
        self._admin.machine("detach", **self._where)


@contextmanager
def start(admin: AwsAdmin, account: str, region: str, group: str) -> Iterator[tuple[str, Machine]]:
    """Play an instance of a group until the end of the block.

    Args:
        admin: Control routes of the AWS server.
        account: 12-digit id.
        region: Region of the group.
        group: Name of the group.

    Returns:
        URL for `AWS_EC2_METADATA_SERVICE_ENDPOINT`, and the machine.

    Raises:
        AwsAdminError: The account has no such group, or no instance of it is in service without a machine.
    """
    machine = Machine(admin, account, region, admin.machine("attach", account=account, region=region, group=group))
    try:
        with _served(machine) as address:
            yield address, machine
    finally:
        machine.detach()


@contextmanager
def visit(admin: AwsAdmin, account: str, region: str, group: str) -> Iterator[str]:
    """Serve the metadata of the newest instance of a group until the end of the block; the instance does not wait for it.

    Arguments and errors are those of `start`; an instance with a machine does, too.

    Returns:
        URL for `AWS_EC2_METADATA_SERVICE_ENDPOINT`.
    """
    description = admin.machine("look", account=account, region=region, group=group)
    with _served(Machine(admin, account, region, description)) as address:
        yield address


@contextmanager
def _served(machine: Machine) -> Iterator[str]:
    service = MetadataService(machine)
    try:
        yield service.address
    finally:
        service.close()
