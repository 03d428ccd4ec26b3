"""Launch templates of EC2.

A change makes another version. The real plugin sends the whole data with each version, and so does this one. Leaves out
requirements instead of types, licences and elastic accelerators, which no program uses (such a property is refused).
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/launchtemplate/.
"""

from collections.abc import Mapping
from typing import Any, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import from_api, tag_list, tag_map, to_api
from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler, retag
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, at_most_one_of
from runner_platform_sandbox.providers.stand_in import Properties
from runner_platform_sandbox.providers.validation import Failure

_NAMES: Final = {"securityGroupNames": "SecurityGroups", "vpcSecurityGroupIds": "SecurityGroupIds"}
_INTERFACE_NAMES: Final = {"securityGroups": "Groups"}
_DNS_NAMES: Final = {"enableResourceNameDnsAaaaRecord": "EnableResourceNameDnsAAAARecord"}
_DATA: Final = frozenset(
    {"blockDeviceMappings", "cpuOptions", "disableApiStop", "disableApiTermination", "ebsOptimized", "enclaveOptions"}
    | {"hibernationOptions", "iamInstanceProfile", "imageId", "instanceInitiatedShutdownBehavior", "instanceType"}
    | {"instanceMarketOptions", "kernelId", "keyName", "maintenanceOptions", "metadataOptions", "monitoring"}
    | {"networkInterfaces", "placement", "privateDnsNameOptions", "ramDiskId", "securityGroupNames"}
    | {"tagSpecifications", "userData", "vpcSecurityGroupIds"}
)
_INTERFACE: Final = frozenset(
    {"associatePublicIpAddress", "deleteOnTermination", "description", "deviceIndex", "networkCardIndex"}
    | {"networkInterfaceId", "privateIpAddress", "securityGroups", "subnetId"}
)
_BOOLEANS_AS_TEXT: Final = frozenset({"associatePublicIpAddress", "deleteOnTermination", "ebsOptimized", "encrypted"})
"""Booleans that are text in the SDK, so that a missing value differs from false."""


class LaunchTemplate(Ec2Handler):
    """A launch template."""

    token = "aws:ec2/launchTemplate:LaunchTemplate"  # noqa: S105 - a type token
    kind = "launch-template"
    naming = AutoName(longest=128)
    immutable = frozenset({"name", "namePrefix"})
    computed = frozenset(
        {"defaultVersion", "metadataOptions", "instanceMarketOptions.spotOptions.validUntil"}
        | {f"blockDeviceMappings.ebs.{name}" for name in ("iops", "throughput", "volumeSize", "volumeType")}
        | {
            f"metadataOptions.{name}"
            for name in ("httpEndpoint", "httpProtocolIpv6", "httpPutResponseHopLimit", "httpTokens")
        }
        | {"metadataOptions.instanceMetadataTags"}
    )
    sets = frozenset({"networkInterfaces.securityGroups", "securityGroupNames", "vpcSecurityGroupIds"})
    kept = frozenset({"namePrefix", "updateDefaultVersion"})
    modelled = frozenset({"defaultVersion", "description", "name", "namePrefix", "updateDefaultVersion", *_DATA})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return [
            *at_most_one_of(inputs, "defaultVersion", "updateDefaultVersion"),
            *at_most_one_of(inputs, "securityGroupNames", "vpcSecurityGroupIds"),
            *(
                Failure(
                    f"networkInterfaces[{index}].{name}", "is a property that the sandbox's aws stand-in does not model"
                )
                for index, interface in enumerate(_listed(inputs.get("networkInterfaces")))
                for name in sorted(interface.keys() - _INTERFACE)
            ),
        ]

    @override
    def recomputed(self, news: Properties, changed: set[str]) -> frozenset[str]:
        if not changed & {*_DATA, "description"}:
            return frozenset()
        return frozenset({"latestVersion"} | ({"defaultVersion"} if news.get("updateDefaultVersion") else set()))

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_launch_template",
            LaunchTemplateName=self.name_of(inputs),
            VersionDescription=inputs.get("description"),
            LaunchTemplateData=_data(inputs),
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["LaunchTemplate"]["LaunchTemplateId"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        template = self.find(call, "describe_launch_templates", "LaunchTemplates", LaunchTemplateIds=[identifier])
        if template is None or template["LaunchTemplateId"] != identifier:
            return None
        latest = call.client("ec2").call(
            "describe_launch_template_versions",
            LaunchTemplateId=identifier,
            Versions=[str(template["LatestVersionNumber"])],
        )["LaunchTemplateVersions"][0]
        return {
            **self._settings(latest["LaunchTemplateData"]),
            "arn": call.arn("ec2", f"launch-template/{identifier}"),
            "defaultVersion": template["DefaultVersionNumber"],
            "description": latest.get("VersionDescription"),
            "latestVersion": template["LatestVersionNumber"],
            "name": template["LaunchTemplateName"],
            "tags": tag_map(template.get("Tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        ec2 = call.client("ec2")
        if changed & {*_DATA, "description"}:
            ec2.call(
                "create_launch_template_version",
                LaunchTemplateId=identifier,
                VersionDescription=news.get("description"),
                LaunchTemplateData=_data(news),
            )
        template = self.find(call, "describe_launch_templates", "LaunchTemplates", LaunchTemplateIds=[identifier]) or {}
        latest = template.get("LatestVersionNumber")
        default = latest if news.get("updateDefaultVersion") else news.get("defaultVersion")
        if default and default != template.get("DefaultVersionNumber"):
            ec2.call("modify_launch_template", LaunchTemplateId=identifier, DefaultVersion=str(default))
        if "tags" in changed:
            retag(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_launch_template", LaunchTemplateId=identifier)

    @staticmethod
    def _settings(data: Properties) -> Properties:
        """Return a version's data as properties of the SDK; what the SDK does not know is left out."""
        settings = from_api(data, {key: name for name, key in {**_NAMES, **_INTERFACE_NAMES, **_DNS_NAMES}.items()})
        settings["tagSpecifications"] = [
            {"resourceType": item.get("ResourceType"), "tags": tag_map(item.get("Tags"))}
            for item in data.get("TagSpecifications", [])
        ]
        (settings.get("metadataOptions") or {}).pop("state", None)
        return {name: _as_text(value, name) for name, value in settings.items() if name in _DATA}


def _listed(value: Any) -> list[Properties]:
    """Return the objects of a list, without values that a preview does not know."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _data(inputs: Properties) -> Properties:
    """Return the data of a version; the real plugin always sends the user data, because EC2 wants one field."""
    values = {name: _as_boolean(value, name) for name, value in inputs.items() if name in _DATA and value is not None}
    specifications, interfaces = values.pop("tagSpecifications", []), values.pop("networkInterfaces", [])
    data: Properties = {"UserData": "", **to_api(values, {**_NAMES, **_DNS_NAMES})}
    if interfaces:
        data["NetworkInterfaces"] = to_api(interfaces, _INTERFACE_NAMES)
    if specifications:
        data["TagSpecifications"] = [
            {"ResourceType": item["resourceType"], "Tags": tag_list(item.get("tags")) or []} for item in specifications
        ]
    return data


def _as_boolean(value: Any, name: str) -> Any:
    """Return `value` with the texts of `_BOOLEANS_AS_TEXT` as booleans; an empty text is no value."""
    if isinstance(value, Mapping):
        return {key: _as_boolean(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_boolean(item, name) for item in value]
    if name in _BOOLEANS_AS_TEXT and isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value


def _as_text(value: Any, name: str) -> Any:
    """Return `value` with the booleans of `_BOOLEANS_AS_TEXT` as text."""
    if isinstance(value, Mapping):
        return {key: _as_text(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_text(item, name) for item in value]
    return str(value).lower() if name in _BOOLEANS_AS_TEXT and isinstance(value, bool) else value
