"""VPC, subnets, internet gateway and routes, and the base class of all EC2 types.

Leaves out IPv6, IPAM and Outposts, which no program uses (such a property is refused), and `routes` inside a route
table: the programs use `Route`, and both together would overwrite each other.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/.
"""

import zlib
from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_changes, tag_list, tag_map
from runner_platform_sandbox.providers.aws.handler import Call, Handler, one_of
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

DEPENDENT = {"DependencyViolation", "Client.InvalidParameterValue.Conflict", "IncorrectState"}
_DEPENDENTS_LEAVE_SECONDS = 120.0


_DNS = {"enableDnsSupport": "EnableDnsSupport", "enableDnsHostnames": "EnableDnsHostnames"}
_READY_SECONDS = 120.0
_DESTINATIONS: Final = {
    "destinationCidrBlock": "DestinationCidrBlock",
    "destinationIpv6CidrBlock": "DestinationIpv6CidrBlock",
    "destinationPrefixListId": "DestinationPrefixListId",
}
_TARGETS: Final = {
    "egressOnlyGatewayId": "EgressOnlyInternetGatewayId",
    "gatewayId": "GatewayId",
    "natGatewayId": "NatGatewayId",
    "networkInterfaceId": "NetworkInterfaceId",
    "transitGatewayId": "TransitGatewayId",
    "vpcPeeringConnectionId": "VpcPeeringConnectionId",
}


class Ec2Handler(Handler):
    """A type with an id from EC2."""

    kind: ClassVar[str]
    """Name of the type in tag specifications, such as `vpc`."""

    def tag_specifications(self, inputs: Properties) -> list[dict[str, Any]] | None:
        """Return the tags as an argument of creating calls."""
        pairs = tag_list(inputs.get("tags"))
        return [{"ResourceType": self.kind, "Tags": pairs}] if pairs else None

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if "tags" in changed:
            retag(call, identifier, news)

    @staticmethod
    def find(call: Call, operation: str, key: str, **arguments: Any) -> Properties | None:
        """Return the first item of a describing call, or None if EC2 does not know the id."""
        try:
            items = call.client("ec2").call(operation, **arguments).get(key, [])
        except AwsError as error:
            if is_gone(error):
                return None
            raise
        return items[0] if items else None

    @staticmethod
    def remove(call: Call, operation: str, **arguments: Any) -> None:
        """Run a deleting call until the resource has no dependents; a deleted resource is no error."""

        def attempt() -> None:
            try:
                call.client("ec2").call(operation, **arguments)
            except AwsError as error:
                if not is_gone(error):
                    raise

        try:
            call.retry(attempt, DEPENDENT, call.target.timeout or _DEPENDENTS_LEAVE_SECONDS)
        except AwsError as error:
            if error.code not in DEPENDENT:
                raise
            reason = "something outside this program still uses it; remove that first"
            raise ProviderError(f"{error}. {next(iter(arguments.values()))} cannot be deleted: {reason}") from error


def is_gone(error: AwsError) -> bool:
    """Tell whether an error means that the id does not exist."""
    return error.code.endswith(("NotFound", ".NotFound")) or error.code == "InvalidNetworkInterfaceID.NotFound"


def retag(call: Call, identifier: str, news: Properties) -> None:
    """Set the tags of a resource to those of `news`."""
    ec2 = call.client("ec2")
    present = ec2.pages("describe_tags", "Tags", Filters=[{"Name": "resource-id", "Values": [identifier]}])
    put, remove = tag_changes(tag_map(present), news.get("tags"))
    if remove:
        ec2.call("delete_tags", Resources=[identifier], Tags=[{"Key": key} for key in remove])
    if put:
        ec2.call("create_tags", Resources=[identifier], Tags=tag_list(put))


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
        for name, attribute in _DNS.items():  # one attribute for each call, DNS support before host names
            if name in inputs and inputs[name] != present[name]:
                request = {attribute: {"Value": inputs[name]}}
                call.client("ec2").call("modify_vpc_attribute", VpcId=identifier, **request)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
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
            "tags": tag_map(vpc.get("Tags")),
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_vpc", VpcId=identifier)

    @staticmethod
    def _dns(call: Call, identifier: str) -> dict[str, bool]:
        attributes = {}
        for name, attribute in _DNS.items():
            query = attribute[0].lower() + attribute[1:]
            answer = call.client("ec2").call("describe_vpc_attribute", VpcId=identifier, Attribute=query)
            attributes[name] = bool(answer.get(attribute, {}).get("Value", False))
        return attributes


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
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
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
            "tags": tag_map(subnet.get("Tags")),
            "vpcId": subnet["VpcId"],
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_subnet", SubnetId=identifier)


class InternetGateway(Ec2Handler):
    """An internet gateway, attached to a VPC or detached."""

    token = "aws:ec2/internetGateway:InternetGateway"  # noqa: S105 - a type token
    kind = "internet-gateway"
    computed = frozenset({"vpcId"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call("create_internet_gateway", TagSpecifications=self.tag_specifications(inputs))
        return str(answer["InternetGateway"]["InternetGatewayId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        present, requested = self._attached(call, identifier), inputs.get("vpcId")
        if requested is None or present == requested:
            return
        if present:
            self.remove(call, "detach_internet_gateway", InternetGatewayId=identifier, VpcId=present)
        call.client("ec2").call("attach_internet_gateway", InternetGatewayId=identifier, VpcId=requested)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        gateway = self._describe(call, identifier)
        if gateway is None:
            return None
        return {
            "arn": call.arn("ec2", f"internet-gateway/{identifier}"),
            "ownerId": gateway.get("OwnerId", call.account),
            "tags": tag_map(gateway.get("Tags")),
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


class RouteTable(Ec2Handler):
    """A route table."""

    token = "aws:ec2/routeTable:RouteTable"  # noqa: S105 - a type token
    kind = "route-table"
    immutable = frozenset({"vpcId"})
    modelled = frozenset({"vpcId"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "create_route_table", VpcId=inputs["vpcId"], TagSpecifications=self.tag_specifications(inputs)
        )
        return str(answer["RouteTable"]["RouteTableId"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        table = _table(call, identifier)
        if table is None:
            return None
        return {
            "arn": call.arn("ec2", f"route-table/{identifier}"),
            "ownerId": table.get("OwnerId", call.account),
            "tags": tag_map(table.get("Tags")),
            "vpcId": table["VpcId"],
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_route_table", RouteTableId=identifier)


class Route(Ec2Handler):
    """A route. Its id combines table and destination; an import takes `<table>_<destination>`."""

    token = "aws:ec2/route:Route"  # noqa: S105 - a type token
    kind = ""
    immutable = frozenset({"routeTableId", *_DESTINATIONS})
    modelled = frozenset({"routeTableId", *_DESTINATIONS, *_TARGETS})
    delete_before_replace = True

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return [*one_of(inputs, *_DESTINATIONS), *one_of(inputs, *_TARGETS)]

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        table, destination = inputs["routeTableId"], _destination(inputs)
        if self._route(call, table, destination):
            raise ProviderError(f"route table {table} already has a route to {destination}; import or delete it")
        # The router may not know a gateway that was created a second ago.
        codes = {"InvalidGatewayID.NotFound", "InvalidNatGatewayID.NotFound", "NatGatewayNotFound"}
        call.retry(lambda: call.client("ec2").call("create_route", **_arguments(inputs)), codes)
        return _route_id(table, destination)

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        table, _, destination = identifier.partition("_")
        name = "destinationPrefixListId" if destination.startswith("pl-") else "destinationCidrBlock"
        name = "destinationIpv6CidrBlock" if ":" in destination else name
        return _route_id(table, destination), {"routeTableId": table, name: destination}

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        route = self._route(call, str(previous.get("routeTableId", "")), _destination(previous))
        if route is None:
            return None
        plain = {name: route.get(key) for name, key in {**_DESTINATIONS, **_TARGETS}.items()}
        return {
            **plain,
            "routeTableId": previous["routeTableId"],
            "origin": route.get("Origin", "CreateRoute"),
            "state": route.get("State", "active"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if changed & _TARGETS.keys():
            call.client("ec2").call("replace_route", **_arguments(news))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        where = {key: outputs[name] for name, key in _DESTINATIONS.items() if outputs.get(name)}
        self.remove(call, "delete_route", RouteTableId=outputs["routeTableId"], **where)

    @staticmethod
    def _route(call: Call, table: str, destination: str) -> dict[str, Any] | None:
        routes = (_table(call, table) or {}).get("Routes", [])
        keys = _DESTINATIONS.values()
        return next((route for route in routes if destination in [route.get(key) for key in keys]), None)


class RouteTableAssociation(Ec2Handler):
    """The route table of a subnet. An import takes `<subnet or gateway>/<table>`.

    Another table needs a replacement here; the real plugin changes the association in place, under a new id.
    """

    token = "aws:ec2/routeTableAssociation:RouteTableAssociation"  # noqa: S105 - a type token
    kind = ""
    immutable = frozenset({"gatewayId", "routeTableId", "subnetId"})
    delete_before_replace = True

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        return one_of(inputs, "subnetId", "gatewayId")

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.client("ec2").call(
            "associate_route_table",
            RouteTableId=inputs["routeTableId"],
            SubnetId=inputs.get("subnetId"),
            GatewayId=inputs.get("gatewayId"),
        )
        return str(answer["AssociationId"])

    @override
    def import_id(self, call: Call, identifier: str) -> tuple[str, Properties]:
        member, _, table = identifier.partition("/")
        for association in (_table(call, table) or {}).get("Associations", []):
            if member in {association.get("SubnetId"), association.get("GatewayId")}:
                return str(association["RouteTableAssociationId"]), {"routeTableId": table}
        raise ProviderError(f"no association of {member} with route table {table}; ids look like subnet-…/rtb-…")

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        table = _table(call, str(previous.get("routeTableId", "")))
        for association in (table or {}).get("Associations", []):
            if association["RouteTableAssociationId"] == identifier:
                return {
                    "routeTableId": previous["routeTableId"],
                    "subnetId": association.get("SubnetId"),
                    "gatewayId": association.get("GatewayId"),
                }
        return None

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "disassociate_route_table", AssociationId=identifier)


def _table(call: Call, identifier: str) -> Properties | None:
    try:
        return Ec2Handler.find(call, "describe_route_tables", "RouteTables", RouteTableIds=[identifier])
    except AwsError as error:
        if error.code == "InvalidParameterValue":  # the text is not a table id, as after an import with a wrong id
            return None
        raise


def _destination(inputs: Properties) -> str:
    return next((str(inputs[name]) for name in _DESTINATIONS if inputs.get(name)), "")


def _arguments(inputs: Properties) -> dict[str, Any]:
    names = {"routeTableId": "RouteTableId", **_DESTINATIONS, **_TARGETS}
    return {key: inputs[name] for name, key in names.items() if inputs.get(name)}


def _route_id(table: str, destination: str) -> str:
    """Return the id in Terraform's form: table and checksum of the destination."""
    return f"r-{table}{zlib.crc32(destination.encode())}"
