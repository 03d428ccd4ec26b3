"""Route tables, routes, associations.

Owns these types. Leaves out routes inside a table (`routes`): the programs use `Route`, and both at once fight each other.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/ec2/.
"""

import zlib
from typing import Any, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler
from runner_platform_sandbox.providers.aws.resource import Call, one_of
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.aws.tags import as_map
from runner_platform_sandbox.providers.base import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

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
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        table = _table(call, identifier)
        if table is None:
            return None
        return {
            "arn": call.arn("ec2", f"route-table/{identifier}"),
            "ownerId": table.get("OwnerId", call.account),
            "tags": as_map(table.get("Tags")),
            "vpcId": table["VpcId"],
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        self.remove(call, "delete_route_table", RouteTableId=identifier)


class Route(Ec2Handler):
    """A route. Its id is made of table and destination; an import takes `<table>_<destination>`."""

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
        # A gateway that was made a second ago is not known to the router yet.
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
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        route = self._route(call, str(known.get("routeTableId", "")), _destination(known))
        if route is None:
            return None
        found = {name: route.get(key) for name, key in {**_DESTINATIONS, **_TARGETS}.items()}
        return {
            **found,
            "routeTableId": known["routeTableId"],
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
    """The table of a subnet. An import takes `<subnet or gateway>/<table>`.

    Another table is a replacement here; the real plugin changes the association in place, under a new id.
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
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        table = _table(call, str(known.get("routeTableId", "")))
        for association in (table or {}).get("Associations", []):
            if association["RouteTableAssociationId"] == identifier:
                return {
                    "routeTableId": known["routeTableId"],
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
        if error.code == "InvalidParameterValue":  # no table id at all, as after an import of nonsense
            return None
        raise


def _destination(inputs: Properties) -> str:
    return next((str(inputs[name]) for name in _DESTINATIONS if inputs.get(name)), "")


def _arguments(inputs: Properties) -> dict[str, Any]:
    names = {"routeTableId": "RouteTableId", **_DESTINATIONS, **_TARGETS}
    return {key: inputs[name] for name, key in names.items() if inputs.get(name)}


def _route_id(table: str, destination: str) -> str:
    """Return the id as Terraform builds it: table and a checksum of the destination."""
    return f"r-{table}{zlib.crc32(destination.encode())}"
