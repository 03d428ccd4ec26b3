"""Elastic addresses, NAT gateways, VPC endpoints, flow logs.

Leaves out regional and private NAT gateways with several addresses, addresses on instances, endpoints of resources and
service networks, and DNS options.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import from_api, tag_map
from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler, retag
from runner_platform_sandbox.providers.aws.handler import Call, one_of
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_NAT_SECONDS = 600.0
_MONITORED = {
    "vpcId": "VPC",
    "subnetId": "Subnet",
    "eniId": "NetworkInterface",
    "transitGatewayId": "TransitGateway",
    "transitGatewayAttachmentId": "TransitGatewayAttachment",
}


_MEMBERS: Final = {"routeTableIds": "RouteTableIds", "subnetIds": "SubnetIds", "securityGroupIds": "SecurityGroupIds"}
_SECONDS: Final = 600.0


class Eip(Ec2Handler):
    """An elastic address. Its id is the allocation id."""

    token = "aws:ec2/eip:Eip"  # noqa: S105 - a type token
    kind = "elastic-ip"
    immutable = frozenset({"domain", "networkBorderGroup", "publicIpv4Pool"})
    computed = frozenset({"domain", "instance", "networkBorderGroup", "networkInterface", "publicIpv4Pool"})
    modelled = frozenset({"domain", "networkBorderGroup", "publicIpv4Pool"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "allocate_address",
            Domain=inputs.get("domain", "vpc"),
            NetworkBorderGroup=inputs.get("networkBorderGroup"),
            PublicIpv4Pool=inputs.get("publicIpv4Pool"),
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["AllocationId"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        address = self.find(call, "describe_addresses", "Addresses", AllocationIds=[identifier])
        if address is None:
            return None
        public = address["PublicIp"]
        suffix = "compute-1" if call.region == "us-east-1" else f"{call.region}.compute"
        return {
            "allocationId": identifier,
            "arn": call.arn("ec2", f"elastic-ip/{identifier}"),
            "associationId": address.get("AssociationId") or "",
            "domain": address.get("Domain", "vpc"),
            "instance": address.get("InstanceId") or "",
            "networkBorderGroup": address.get("NetworkBorderGroup") or call.region,
            "networkInterface": address.get("NetworkInterfaceId") or "",
            "privateIp": address.get("PrivateIpAddress") or "",
            "publicDns": f"ec2-{public.replace('.', '-')}.{suffix}.amazonaws.com",
            "publicIp": public,
            "publicIpv4Pool": address.get("PublicIpv4Pool") or "amazon",
            "tags": tag_map(address.get("Tags")),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "release_address", AllocationId=identifier)


class NatGateway(Ec2Handler):
    """A NAT gateway in one subnet. AWS takes a minute or two to create or delete one, so both wait."""

    token = "aws:ec2/natGateway:NatGateway"  # noqa: S105 - a type token
    kind = "natgateway"
    immutable = frozenset({"allocationId", "connectivityType", "privateIp", "subnetId"})
    defaults: ClassVar[Mapping[str, Any]] = {"connectivityType": "public"}
    computed = frozenset({"availabilityMode", "privateIp", "secondaryPrivateIpAddressCount", "vpcId"})
    modelled = frozenset({"allocationId", "connectivityType", "privateIp", "subnetId"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        public = inputs.get("connectivityType") == "public"
        needed = ["subnetId", "allocationId"] if public else ["subnetId"]
        return [
            Failure(name, f"is required for a {inputs.get('connectivityType')} NAT gateway")
            for name in needed
            if inputs.get(name) is None
        ]

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_nat_gateway",
            SubnetId=inputs["subnetId"],
            AllocationId=inputs.get("allocationId"),
            ConnectivityType=inputs["connectivityType"],
            PrivateIpAddress=inputs.get("privateIp"),
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["NatGateway"]["NatGatewayId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            gateway = self._describe(call, identifier) or {}
            if gateway.get("State") == "failed":
                reason = gateway.get("FailureMessage") or "no reason given"
                raise ProviderError(f"NAT gateway {identifier} failed: {reason}; run the command again to replace it")
            return gateway.get("State") == "available"

        call.wait_until(ready, f"NAT gateway {identifier} to become available", _NAT_SECONDS)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        gateway = self._describe(call, identifier)
        if gateway is None or gateway.get("State") in {"deleting", "deleted", "failed"}:
            return None
        addresses = gateway.get("NatGatewayAddresses") or [{}]
        primary = next((item for item in addresses if item.get("IsPrimary")), addresses[0])
        allocation = primary.get("AllocationId") or previous.get("allocationId")
        return {
            "allocationId": allocation,
            "associationId": primary.get("AssociationId") or "",
            "availabilityMode": "zonal",
            "connectivityType": gateway.get("ConnectivityType", "public"),
            "networkInterfaceId": primary.get("NetworkInterfaceId") or "",
            "privateIp": primary.get("PrivateIp") or "",
            "publicIp": primary.get("PublicIp") or self._public_ip(call, allocation),
            "subnetId": gateway["SubnetId"],
            "tags": tag_map(gateway.get("Tags")),
            "vpcId": gateway.get("VpcId"),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_nat_gateway", NatGatewayId=identifier)

        def gone() -> bool:
            gateway = self._describe(call, identifier)
            return gateway is None or gateway.get("State") == "deleted"

        call.wait_until(gone, f"NAT gateway {identifier} to be deleted", _NAT_SECONDS)

    def _describe(self, call: Call, identifier: str) -> Properties | None:
        return self.find(call, "describe_nat_gateways", "NatGateways", NatGatewayIds=[identifier])

    def _public_ip(self, call: Call, allocation: str | None) -> str:
        """Return the public address of the allocation, for servers that do not return it with the gateway."""
        if not allocation:
            return ""
        address = self.find(call, "describe_addresses", "Addresses", AllocationIds=[allocation])
        return str((address or {}).get("PublicIp", ""))


class FlowLog(Ec2Handler):
    """A flow log. Only its tags can be changed."""

    token = "aws:ec2/flowLog:FlowLog"  # noqa: S105 - a type token
    kind = "vpc-flow-log"
    defaults: ClassVar[Mapping[str, Any]] = {"logDestinationType": "cloud-watch-logs", "maxAggregationInterval": 600}
    computed = frozenset({"logFormat"})
    modelled = frozenset(
        {*_MONITORED, *defaults, *computed, "deliverCrossAccountRole", "iamRoleArn", "logDestination", "trafficType"}
    )
    immutable = modelled

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return one_of(inputs, *_MONITORED)

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        monitored = next(name for name in _MONITORED if inputs.get(name))
        destination = inputs.get("logDestination")
        answer = call.client("ec2").call(
            "create_flow_logs",
            ResourceIds=[inputs[monitored]],
            ResourceType=_MONITORED[monitored],
            TrafficType=inputs.get("trafficType"),
            LogDestinationType=inputs["logDestinationType"],
            LogDestination=destination.removesuffix(":*") if destination else None,
            DeliverLogsPermissionArn=inputs.get("iamRoleArn"),
            DeliverCrossAccountRole=inputs.get("deliverCrossAccountRole"),
            LogFormat=inputs.get("logFormat"),
            MaxAggregationInterval=inputs["maxAggregationInterval"],
            TagSpecifications=self.tag_specifications(inputs),
        )
        for failed in answer.get("Unsuccessful", []):
            reason = failed["Error"].get("Message") or failed["Error"].get("Code")
            raise ProviderError(f"AWS did not create a flow log for {failed.get('ResourceId')}: {reason}")
        return str(answer["FlowLogIds"][0])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        retag(call, identifier, inputs)  # not every AWS server accepts tags at the creation

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        flow = self.find(call, "describe_flow_logs", "FlowLogs", FlowLogIds=[identifier])
        if flow is None:
            return None
        prefixes = {
            "vpc-": "vpcId",
            "subnet-": "subnetId",
            "eni-": "eniId",
            "tgw-attach-": "transitGatewayAttachmentId",
        }
        monitored = next((name for start, name in prefixes.items() if flow["ResourceId"].startswith(start)), "vpcId")
        return {
            monitored: flow["ResourceId"],
            "arn": call.arn("ec2", f"vpc-flow-log/{identifier}"),
            "deliverCrossAccountRole": flow.get("DeliverCrossAccountRole") or previous.get("deliverCrossAccountRole"),
            "iamRoleArn": flow.get("DeliverLogsPermissionArn") or previous.get("iamRoleArn"),
            "logDestination": flow.get("LogDestination") or previous.get("logDestination"),
            "logDestinationType": flow.get("LogDestinationType", "cloud-watch-logs"),
            "logFormat": flow.get("LogFormat"),
            "maxAggregationInterval": int(flow.get("MaxAggregationInterval", 600)),
            "tags": tag_map(flow.get("Tags")),
            "trafficType": flow.get("TrafficType"),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_flow_logs", FlowLogIds=[identifier])


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
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        endpoint = self._describe(call, identifier)
        if endpoint is None or str(endpoint.get("State", "")).lower() in {"deleting", "deleted"}:
            return None
        groups = [group["GroupId"] for group in endpoint.get("Groups") or []]
        gateway = endpoint.get("VpcEndpointType") == "Gateway"
        return {
            "arn": call.arn("ec2", f"vpc-endpoint/{identifier}"),
            "cidrBlocks": [],
            "dnsEntries": from_api(endpoint.get("DnsEntries") or []),
            "ipAddressType": endpoint.get("IpAddressType") or previous.get("ipAddressType"),
            "networkInterfaceIds": endpoint.get("NetworkInterfaceIds") or [],
            "ownerId": endpoint.get("OwnerId", call.account),
            "policy": endpoint.get("PolicyDocument") or previous.get("policy"),
            "prefixListId": self._prefix_list(call, endpoint["ServiceName"]) if gateway else None,
            "privateDnsEnabled": endpoint.get("PrivateDnsEnabled", previous.get("privateDnsEnabled", False)),
            "requesterManaged": endpoint.get("RequesterManaged", False),
            "routeTableIds": endpoint.get("RouteTableIds") or [],
            "securityGroupIds": groups or previous.get("securityGroupIds") or [],
            "serviceName": endpoint["ServiceName"],
            "serviceRegion": call.region,
            "state": endpoint.get("State"),
            "subnetIds": endpoint.get("SubnetIds") or [],
            "tags": tag_map(endpoint.get("Tags")),
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
                existing, requested = set(present.get(name) or []), set(news.get(name) or [])
                arguments[f"Add{key}"] = sorted(requested - existing) or None
                arguments[f"Remove{key}"] = sorted(existing - requested) or None
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

        call.wait_until(gone, f"VPC endpoint {identifier} to be deleted", _SECONDS)

    def _describe(self, call: Call, identifier: str) -> Properties | None:
        return self.find(call, "describe_vpc_endpoints", "VpcEndpoints", VpcEndpointIds=[identifier])

    def _prefix_list(self, call: Call, service: str) -> str | None:
        named = [{"Name": "prefix-list-name", "Values": [service]}]
        prefix_list = self.find(call, "describe_prefix_lists", "PrefixLists", Filters=named)
        return None if prefix_list is None else str(prefix_list["PrefixListId"])
