"""VPC, subnet, internet gateway.

Owns these types. Leaves out IPv6, IPAM and Outposts, which the programs do not use; giving such a property is refused.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler
from runner_platform_sandbox.providers.aws.resource import Call
from runner_platform_sandbox.providers.aws.tags import as_map
from runner_platform_sandbox.providers.base import Properties

_DNS = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}
_READY_SECONDS = 120.0


class Vpc(Ec2Handler):
    """A VPC."""

    token = "aws:ec2/vpc:Vpc"  # noqa: S105 - a type token
    kind = "vpc"
    immutable = frozenset({"cidrBlock"})
    defaults: ClassVar[Mapping[str, Any]] = {"enableDnsSupport": True, "instanceTenancy": "default"}
    computed = frozenset({"enableDnsHostnames", "enableNetworkAddressUsageMetrics"})
    modelled = frozenset({"cidrBlock", "enableDnsHostnames", "enableDnsSupport", "instanceTenancy"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_vpc",
            CidrBlock=inputs.get("cidrBlock"),
            InstanceTenancy=inputs["instanceTenancy"],
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["Vpc"]["VpcId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            vpc = self.find(call, "describe_vpcs", "Vpcs", VpcIds=[identifier])
            return vpc is not None and vpc["State"] == "available"

        call.wait_until(ready, f"VPC {identifier} to become available", _READY_SECONDS)
        present = self._dns(call, identifier)
        for name, attribute in _DNS.items():  # one attribute a call, support before host names
            if name in inputs and inputs[name] != present[name]:
                wanted = {attribute: {"Value": inputs[name]}}
                call.client("ec2").call("modify_vpc_attribute", VpcId=identifier, **wanted)

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        vpc = self.find(call, "describe_vpcs", "Vpcs", VpcIds=[identifier])
        if vpc is None:
            return None
        inside = [{"Name": "vpc-id", "Values": [identifier]}]
        main = [*inside, {"Name": "association.main", "Values": ["true"]}]
        table = self.find(call, "describe_route_tables", "RouteTables", Filters=main) or {}
        group_filter = [*inside, {"Name": "group-name", "Values": ["default"]}]
        group = self.find(call, "describe_security_groups", "SecurityGroups", Filters=group_filter) or {}
        acl_filter = [*inside, {"Name": "default", "Values": ["true"]}]
        acl = self.find(call, "describe_network_acls", "NetworkAcls", Filters=acl_filter) or {}
        return {
            "arn": call.arn("ec2", f"vpc/{identifier}"),
            "cidrBlock": vpc["CidrBlock"],
            "defaultNetworkAclId": acl.get("NetworkAclId"),
            "defaultRouteTableId": table.get("RouteTableId"),
            "defaultSecurityGroupId": group.get("GroupId"),
            "dhcpOptionsId": vpc.get("DhcpOptionsId"),
            **self._dns(call, identifier),
            "enableNetworkAddressUsageMetrics": False,
            "instanceTenancy": vpc.get("InstanceTenancy", "default"),
            "mainRouteTableId": table.get("RouteTableId"),
            "ownerId": vpc.get("OwnerId", call.account),
            "tags": as_map(vpc.get("Tags")),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_vpc", VpcId=identifier)

    @staticmethod
    def _dns(call: Call, identifier: str) -> dict[str, bool]:
        found = {}
        for name, attribute in _DNS.items():
            query = attribute[0].lower() + attribute[1:]
            answer = call.client("ec2").call("describe_vpc_attribute", VpcId=identifier, Attribute=query)
            found[name] = bool(answer.get(attribute, {}).get("Value", False))
        return found


class Subnet(Ec2Handler):
    """A subnet."""

    token = "aws:ec2/subnet:Subnet"  # noqa: S105 - a type token
    kind = "subnet"
    immutable = frozenset({"availabilityZone", "availabilityZoneId", "cidrBlock", "vpcId"})
    defaults: ClassVar[Mapping[str, Any]] = {
        "assignIpv6AddressOnCreation": False,
        "enableDns64": False,
        "enableResourceNameDnsARecordOnLaunch": False,
        "enableResourceNameDnsAaaaRecordOnLaunch": False,
        "ipv6Native": False,
        "mapPublicIpOnLaunch": False,
    }
    computed = frozenset({"availabilityZone", "availabilityZoneId", "privateDnsHostnameTypeOnLaunch"})
    modelled = frozenset({"vpcId", "availabilityZone", "availabilityZoneId", "cidrBlock", "mapPublicIpOnLaunch"})
    kept = frozenset(defaults) - {"mapPublicIpOnLaunch"}

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_subnet",
            VpcId=inputs["vpcId"],
            CidrBlock=inputs.get("cidrBlock"),
            AvailabilityZone=inputs.get("availabilityZone"),
            AvailabilityZoneId=inputs.get("availabilityZoneId"),
            TagSpecifications=self.tag_specifications(inputs),
        )
        return str(answer["Subnet"]["SubnetId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def find() -> dict[str, Any]:
            return self.find(call, "describe_subnets", "Subnets", SubnetIds=[identifier]) or {}

        call.wait_until(
            lambda: find().get("State") == "available", f"subnet {identifier} to become available", _READY_SECONDS
        )
        public = inputs["mapPublicIpOnLaunch"]
        if find().get("MapPublicIpOnLaunch", False) != public:
            call.client("ec2").call(
                "modify_subnet_attribute", SubnetId=identifier, MapPublicIpOnLaunch={"Value": public}
            )

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        subnet = self.find(call, "describe_subnets", "Subnets", SubnetIds=[identifier])
        if subnet is None:
            return None
        launch = subnet.get("PrivateDnsNameOptionsOnLaunch", {})
        return {
            "arn": subnet.get("SubnetArn") or call.arn("ec2", f"subnet/{identifier}"),
            "availabilityZone": subnet["AvailabilityZone"],
            "availabilityZoneId": subnet.get("AvailabilityZoneId"),
            "cidrBlock": subnet["CidrBlock"],
            "mapPublicIpOnLaunch": subnet.get("MapPublicIpOnLaunch", False),
            "ownerId": subnet.get("OwnerId", call.account),
            "privateDnsHostnameTypeOnLaunch": launch.get("HostnameType", "ip-name"),
            "tags": as_map(subnet.get("Tags")),
            "vpcId": subnet["VpcId"],
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_subnet", SubnetId=identifier)


class InternetGateway(Ec2Handler):
    """An internet gateway, attached to a VPC or to none."""

    token = "aws:ec2/internetGateway:InternetGateway"  # noqa: S105 - a type token
    kind = "internet-gateway"
    computed = frozenset({"vpcId"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call("create_internet_gateway", TagSpecifications=self.tag_specifications(inputs))
        return str(answer["InternetGateway"]["InternetGatewayId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        present, wanted = self._attached(call, identifier), inputs.get("vpcId")
        if wanted is None or present == wanted:
            return
        if present:
            self.remove(call, "detach_internet_gateway", InternetGatewayId=identifier, VpcId=present)
        call.client("ec2").call("attach_internet_gateway", InternetGatewayId=identifier, VpcId=wanted)

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        gateway = self._describe(call, identifier)
        if gateway is None:
            return None
        return {
            "arn": call.arn("ec2", f"internet-gateway/{identifier}"),
            "ownerId": gateway.get("OwnerId", call.account),
            "tags": as_map(gateway.get("Tags")),
            "vpcId": self._attached(call, identifier),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        attached = self._attached(call, identifier)
        if attached:
            self.remove(call, "detach_internet_gateway", InternetGatewayId=identifier, VpcId=attached)
        self.remove(call, "delete_internet_gateway", InternetGatewayId=identifier)

    def _describe(self, call: Call, identifier: str) -> Properties | None:
        return self.find(call, "describe_internet_gateways", "InternetGateways", InternetGatewayIds=[identifier])

    def _attached(self, call: Call, identifier: str) -> str | None:
        attachments = (self._describe(call, identifier) or {}).get("Attachments", [])
        return next((str(item["VpcId"]) for item in attachments if item.get("VpcId")), None)
