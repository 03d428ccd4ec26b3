"""VPC endpoints, gateway and interface.

Owns `VpcEndpoint`. Leaves out endpoints of resources and service networks, and DNS options. Where the AWS server leaves
a property out of its answer, the one that was given stays in the state.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/vpcendpoint/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler
from runner_platform_sandbox.providers.aws.resource import Call
from runner_platform_sandbox.providers.aws.shapes import from_api
from runner_platform_sandbox.providers.aws.tags import as_map
from runner_platform_sandbox.providers.base import Properties, ProviderError

_MEMBERS: Final = {"routeTableIds": "RouteTableIds", "subnetIds": "SubnetIds", "securityGroupIds": "SecurityGroupIds"}
_SECONDS: Final = 600.0


class VpcEndpoint(Ec2Handler):
    """An endpoint of an AWS service inside a VPC."""

    token = "aws:ec2/vpcEndpoint:VpcEndpoint"  # noqa: S105 - a type token
    kind = "vpc-endpoint"
    immutable = frozenset({"serviceName", "vpcEndpointType", "vpcId"})
    defaults: ClassVar[Mapping[str, Any]] = {"vpcEndpointType": "Gateway"}
    computed = frozenset({"ipAddressType", "policy", "privateDnsEnabled", "serviceRegion", *_MEMBERS})
    documents = frozenset({"policy"})
    sets = frozenset(_MEMBERS)
    kept = frozenset({"autoAccept"})
    modelled = frozenset(
        {
            "vpcId",
            "serviceName",
            "vpcEndpointType",
            "policy",
            "privateDnsEnabled",
            "ipAddressType",
            "autoAccept",
            *_MEMBERS,
        }
    )

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        members = {key: inputs[name] for name, key in _MEMBERS.items() if inputs.get(name)}
        answer = call.client("ec2").call(
            "create_vpc_endpoint",
            VpcId=inputs["vpcId"],
            ServiceName=inputs.get("serviceName"),
            VpcEndpointType=inputs["vpcEndpointType"],
            PolicyDocument=inputs.get("policy"),
            PrivateDnsEnabled=inputs.get("privateDnsEnabled"),
            IpAddressType=inputs.get("ipAddressType"),
            TagSpecifications=self.tag_specifications(inputs),
            **members,
        )
        return str(answer["VpcEndpoint"]["VpcEndpointId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            endpoint = self._describe(call, identifier) or {}
            state = str(endpoint.get("State", "")).lower()
            if state in {"failed", "rejected"}:
                raise ProviderError(
                    f"VPC endpoint {identifier} is {state}; look at its service, then run the command again"
                )
            return state in {"available", "pendingacceptance"}

        call.wait_until(ready, f"VPC endpoint {identifier} to become available", _SECONDS)

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        endpoint = self._describe(call, identifier)
        if endpoint is None or str(endpoint.get("State", "")).lower() in {"deleting", "deleted"}:
            return None
        groups = [group["GroupId"] for group in endpoint.get("Groups") or []]
        gateway = endpoint.get("VpcEndpointType") == "Gateway"
        return {
            "arn": call.arn("ec2", f"vpc-endpoint/{identifier}"),
            "cidrBlocks": [],
            "dnsEntries": from_api(endpoint.get("DnsEntries") or []),
            "ipAddressType": endpoint.get("IpAddressType") or known.get("ipAddressType"),
            "networkInterfaceIds": endpoint.get("NetworkInterfaceIds") or [],
            "ownerId": endpoint.get("OwnerId", call.account),
            "policy": endpoint.get("PolicyDocument") or known.get("policy"),
            "prefixListId": self._prefix_list(call, endpoint["ServiceName"]) if gateway else None,
            "privateDnsEnabled": endpoint.get("PrivateDnsEnabled", known.get("privateDnsEnabled", False)),
            "requesterManaged": endpoint.get("RequesterManaged", False),
            "routeTableIds": endpoint.get("RouteTableIds") or [],
            "securityGroupIds": groups or known.get("securityGroupIds") or [],
            "serviceName": endpoint["ServiceName"],
            "serviceRegion": call.region,
            "state": endpoint.get("State"),
            "subnetIds": endpoint.get("SubnetIds") or [],
            "tags": as_map(endpoint.get("Tags")),
            "vpcEndpointType": endpoint.get("VpcEndpointType", "Gateway"),
            "vpcId": endpoint["VpcId"],
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        super().update(call, identifier, news, changed)
        present = self.read(call, identifier, news) or {}
        arguments: dict[str, Any] = {}
        for name, key in _MEMBERS.items():
            if name in changed:
                had, wanted = set(present.get(name) or []), set(news.get(name) or [])
                arguments[f"Add{key}"] = sorted(wanted - had) or None
                arguments[f"Remove{key}"] = sorted(had - wanted) or None
        if "policy" in changed:
            arguments |= {"PolicyDocument": news.get("policy"), "ResetPolicy": None if news.get("policy") else True}
        if "privateDnsEnabled" in changed:
            arguments["PrivateDnsEnabled"] = news.get("privateDnsEnabled", False)
        if "ipAddressType" in changed:
            arguments["IpAddressType"] = news.get("ipAddressType")
        if any(value is not None for value in arguments.values()):
            call.client("ec2").call("modify_vpc_endpoint", VpcEndpointId=identifier, **arguments)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_vpc_endpoints", VpcEndpointIds=[identifier])

        def gone() -> bool:
            endpoint = self._describe(call, identifier)
            return endpoint is None or str(endpoint.get("State", "")).lower() == "deleted"

        call.wait_until(gone, f"VPC endpoint {identifier} to be gone", _SECONDS)

    def _describe(self, call: Call, identifier: str) -> Properties | None:
        return self.find(call, "describe_vpc_endpoints", "VpcEndpoints", VpcEndpointIds=[identifier])

    def _prefix_list(self, call: Call, service: str) -> str | None:
        named = [{"Name": "prefix-list-name", "Values": [service]}]
        found = self.find(call, "describe_prefix_lists", "PrefixLists", Filters=named)
        return None if found is None else str(found["PrefixListId"])
