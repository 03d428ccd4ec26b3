"""EC2's checks of ranges, routes, rules and dependencies, which MiniStack does not make.

NAT gateways and endpoints are in `ec2_gateways`, templates in `launch_templates`. Not modelled: traffic.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

from ministack.services import ec2

from sandbox_aws import ec2_gateways, launch_templates
from sandbox_aws.patching import handlers, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer

_LARGEST, _SMALLEST, _RESERVED = 16, 28, 5


def install() -> None:
    """Put the checks in front of MiniStack's operations."""
    table = handlers("services.ec2", "_ACTION_MAP")
    ec2_gateways.install(table)
    launch_templates.install(table)
    for operation, check in {
        "CreateVpc": _vpc_refused,
        "CreateSubnet": _subnet_refused,
        "DeleteSubnet": _subnet_in_use,
        "CreateRouteTable": _vpc_missing,
        "CreateSecurityGroup": _vpc_missing,
        "DeleteSecurityGroup": _group_in_use,
        "CreateRoute": _route_refused,
        "DeleteRouteTable": _table_in_use,
        "DescribeRouteTables": _table_missing,
        "AttachInternetGateway": _vpc_missing,
        "DetachInternetGateway": _gateway_in_use,
        "ReleaseAddress": _address_in_use,
    }.items():
        wrap(table, operation, _checked(check))
    wrap(table, "CreateSubnet", _counting_addresses)
    for operation in ("AuthorizeSecurityGroupIngress", "AuthorizeSecurityGroupEgress"):
        wrap(table, operation, _no_duplicate_rule(operation))


def _checked(check: Callable[[dict[str, Any]], Answer | None]) -> Any:
    """Return a wrapper that runs the operation unless the check refuses it."""

    def make(original: Any) -> Any:
        def handle(parameters: dict[str, Any]) -> Answer:
            answer: Answer = check(parameters) or original(parameters)
            return answer

        return handle

    return make


def _vpc_refused(parameters: dict[str, Any]) -> Answer | None:
    block = ec2._p(parameters, "CidrBlock")
    try:
        network = ipaddress.IPv4Network(block)
    except ValueError:
        return _error(
            "InvalidParameterValue",
            f"Value ({block}) for parameter cidrBlock is invalid. This is not a valid CIDR block.",
        )
    if not _LARGEST <= network.prefixlen <= _SMALLEST:
        return _error("InvalidVpc.Range", f"The CIDR '{block}' is invalid.")
    return None


def _vpc_missing(parameters: dict[str, Any]) -> Answer | None:
    vpc = ec2._p(parameters, "VpcId")
    return (
        _error("InvalidVpcID.NotFound", f"The vpc ID '{vpc}' does not exist") if vpc and vpc not in ec2._vpcs else None
    )


def _subnet_refused(parameters: dict[str, Any]) -> Answer | None:
    missing = _vpc_missing(parameters)
    if missing is not None:
        return missing
    vpc, block = ec2._vpcs.get(ec2._p(parameters, "VpcId")), ec2._p(parameters, "CidrBlock")
    try:
        network = ipaddress.IPv4Network(block)
    except ValueError:
        return _error(
            "InvalidParameterValue",
            f"Value ({block}) for parameter cidrBlock is invalid. This is not a valid CIDR block.",
        )
    within = vpc is not None and network.subnet_of(ipaddress.IPv4Network(vpc["CidrBlock"]))
    if not within or not _LARGEST <= network.prefixlen <= _SMALLEST:
        return _error("InvalidSubnet.Range", f"The CIDR '{block}' is invalid.")
    for stored in ec2._subnets.values():
        if stored["VpcId"] == vpc["VpcId"] and network.overlaps(ipaddress.IPv4Network(stored["CidrBlock"])):
            return _error("InvalidSubnet.Conflict", f"The CIDR '{block}' conflicts with another subnet")
    return None


def _counting_addresses(original: Any) -> Any:
    """Add the number of free addresses of a new subnet: its size less the five addresses of AWS."""

    def create(parameters: dict[str, Any]) -> Answer:
        before = set(ec2._subnets)
        answer: Answer = original(parameters)
        for identifier in set(ec2._subnets) - before:
            stored = ec2._subnets[identifier]
            count = ipaddress.IPv4Network(stored["CidrBlock"]).num_addresses - _RESERVED
            stored["AvailableIpAddressCount"] = count
            return ec2._xml(200, "CreateSubnetResponse", ec2._subnet_fields_xml(stored, tag="subnet"))  # type: ignore[no-any-return]
        return answer

    return create


def _subnet_in_use(parameters: dict[str, Any]) -> Answer | None:
    subnet = ec2._p(parameters, "SubnetId")
    if any(interface["SubnetId"] == subnet for interface in ec2._network_interfaces.values()):
        return _error("DependencyViolation", f"The subnet '{subnet}' has dependencies and cannot be deleted.")
    return None


def _group_in_use(parameters: dict[str, Any]) -> Answer | None:
    group = ec2._p(parameters, "GroupId")
    attached = any(
        member["GroupId"] == group for interface in ec2._network_interfaces.values() for member in interface["Groups"]
    )
    named = any(
        pair.get("GroupId") == group
        for identifier, stored in ec2._security_groups.items()
        if identifier != group
        for rule in [*stored["IpPermissions"], *stored["IpPermissionsEgress"]]
        for pair in rule.get("UserIdGroupPairs", [])
    )
    return _error("DependencyViolation", f"resource {group} has a dependent object") if attached or named else None


def _route_refused(parameters: dict[str, Any]) -> Answer | None:
    table = ec2._route_tables.get(ec2._p(parameters, "RouteTableId"))
    block = ec2._p(parameters, "DestinationCidrBlock")
    if table is None:
        return None
    if any(route.get("DestinationCidrBlock") == block for route in table["Routes"] if block):
        return _error("RouteAlreadyExists", f"The route identified by {block} already exists.")
    for name, store, code, kind in (
        ("GatewayId", ec2._internet_gateways, "InvalidGatewayID.NotFound", "gateway"),
        ("NatGatewayId", ec2._nat_gateways, "InvalidNatGatewayID.NotFound", "NAT gateway"),
    ):
        target = ec2._p(parameters, name)
        if target.startswith(("igw-", "nat-")) and target not in store:
            return _error(code, f"The {kind} ID '{target}' does not exist")
    return None


def _table_in_use(parameters: dict[str, Any]) -> Answer | None:
    table = ec2._route_tables.get(ec2._p(parameters, "RouteTableId"))
    if table is not None and table["Associations"]:
        message = f"The routeTable '{table['RouteTableId']}' has dependencies and cannot be deleted."
        return _error("DependencyViolation", message)
    return None


def _table_missing(parameters: dict[str, Any]) -> Answer | None:
    for table in ec2._parse_member_list(parameters, "RouteTableId"):
        if table not in ec2._route_tables:
            return _error("InvalidRouteTableID.NotFound", f"The routeTable ID '{table}' does not exist")
    return None


def _gateway_in_use(parameters: dict[str, Any]) -> Answer | None:
    """Refuse to detach an internet gateway while NAT gateways of its VPC have public addresses."""
    gateway = ec2._internet_gateways.get(ec2._p(parameters, "InternetGatewayId")) or {"Attachments": []}
    networks = {attachment["VpcId"] for attachment in gateway["Attachments"]}
    if any(nat["VpcId"] in networks and nat["State"] == "available" for nat in ec2._nat_gateways.values()):
        network = next(iter(networks))
        message = f"Network {network} has some mapped public address(es). Please unmap those public address(es) before detaching the gateway."
        return _error("DependencyViolation", message)
    return None


def _address_in_use(parameters: dict[str, Any]) -> Answer | None:
    address = ec2._addresses.get(ec2._p(parameters, "AllocationId"))
    if address is not None and address["AssociationId"]:
        return _error("InvalidIPAddress.InUse", f"Address {address['PublicIp']} is in use.")
    return None


def _no_duplicate_rule(operation: str) -> Any:
    field = "IpPermissions" if operation.endswith("Ingress") else "IpPermissionsEgress"

    def make(original: Any) -> Any:
        def authorize(parameters: dict[str, Any]) -> Answer:
            group = ec2._security_groups.get(ec2._p(parameters, "GroupId"))
            if group is not None:
                present = {peer for rule in group[field] for peer in _peers(rule)}
                for rule in ec2._parse_ip_permissions(parameters, "IpPermissions"):
                    if present & set(_peers(rule)):
                        return _error("InvalidPermission.Duplicate", "the specified rule already exists")
            answer: Answer = original(parameters)
            return answer

        return authorize

    return make


def _peers(rule: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return one comparable value for each peer of a rule."""
    ports = (str(rule.get("IpProtocol")), str(rule.get("FromPort")), str(rule.get("ToPort")))
    return [
        (*ports, peer[key])
        for field, key in (
            ("IpRanges", "CidrIp"),
            ("Ipv6Ranges", "CidrIpv6"),
            ("PrefixListIds", "PrefixListId"),
            ("UserIdGroupPairs", "GroupId"),
        )
        for peer in rule.get(field, [])
        if peer.get(key)
    ]


def _error(code: str, message: str) -> Answer:
    answer: Answer = ec2._error(code, message, 400)
    return answer
