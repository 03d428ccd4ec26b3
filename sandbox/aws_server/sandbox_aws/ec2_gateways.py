"""NAT gateways and VPC endpoints with the fields that MiniStack forgets.

A public NAT gateway takes an Elastic IP and a private address of its subnet, keeps both until it is deleted, and stays
listed as deleted for a while. A gateway endpoint puts a route to the service's prefix list into each of its tables; an
interface endpoint has network interfaces, security groups, private DNS and a policy. Names resolve nowhere.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import secrets
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2

from sandbox_aws.patching import replace, wrap

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sandbox_aws.answers import Answer


_ADDRESSES = "SandboxAddress"
"""Field of a stored gateway: its only address set."""


def install(table: MutableMapping[str, Any]) -> None:
    """Replace the operations of NAT gateways and endpoints, and how an endpoint is printed."""
    wrap(table, "CreateNatGateway", _create_nat)
    wrap(table, "DescribeNatGateways", _describe_nats)
    wrap(table, "DeleteNatGateway", _delete_nat)
    wrap(table, "CreateVpcEndpoint", _create_endpoint)
    wrap(table, "ModifyVpcEndpoint", _modify_endpoint)
    wrap(table, "DeleteVpcEndpoints", _delete_endpoint)
    table["DescribeVpcEndpoints"] = _describe_endpoints
    replace("services.ec2", "_vpce_fields_xml", _endpoint_fields)


def private_address(subnet: dict[str, Any]) -> str:
    """Return a free address of the subnet; the first four and the last belong to AWS."""
    used = {interface["PrivateIpAddress"] for interface in ec2._network_interfaces.values()}
    network = ipaddress.IPv4Network(subnet["CidrBlock"])
    usable = itertools.islice(network, 4, network.num_addresses - 1)
    return next(str(host) for host in usable if str(host) not in used)


def interface(subnet: dict[str, Any], kind: str, description: str, groups: list[str]) -> dict[str, Any]:
    """Make the network interface of a gateway or an endpoint and return the record."""
    identifier = f"eni-{secrets.token_hex(9)[:17]}"
    record = {
        "NetworkInterfaceId": identifier,
        "SubnetId": subnet["SubnetId"],
        "VpcId": subnet["VpcId"],
        "AvailabilityZone": subnet["AvailabilityZone"],
        "Description": description,
        "OwnerId": get_account_id(),
        "Status": "in-use",
        "PrivateIpAddress": private_address(subnet),
        "InterfaceType": kind,
        "SourceDestCheck": False,
        "MacAddress": ":".join(f"{byte:02x}" for byte in b"\x02" + secrets.token_bytes(5)),
        "Groups": [{"GroupId": group, "GroupName": ec2._security_groups[group]["GroupName"]} for group in groups],
        "Attachment": None,
    }
    ec2._network_interfaces[identifier] = record
    return record


def _create_nat(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        subnet_id, allocation = ec2._p(parameters, "SubnetId"), ec2._p(parameters, "AllocationId")
        subnet, address = ec2._subnets.get(subnet_id), ec2._addresses.get(allocation)
        public = (ec2._p(parameters, "ConnectivityType") or "public") == "public"
        if subnet is None:
            return _error("InvalidSubnetID.NotFound", f"The subnet ID '{subnet_id}' does not exist")
        if public and not allocation:
            return _error("MissingParameter", "The request must contain the parameter AllocationId")
        if public and address is None:
            return _error("InvalidAllocationID.NotFound", f"The allocation ID '{allocation}' does not exist")
        if address is not None and address["AssociationId"]:
            return _error("InvalidIPAddress.InUse", f"Address {address['PublicIp']} is in use.")
        before = set(ec2._nat_gateways)
        answer: Answer = original(parameters)
        for identifier in set(ec2._nat_gateways) - before:
            gateway = ec2._nat_gateways[identifier]
            _connect_nat(gateway, subnet, address)
            return _put_addresses(answer, [gateway])
        return answer

    return create


def _connect_nat(gateway: dict[str, Any], subnet: dict[str, Any], address: dict[str, Any] | None) -> None:
    """Give a new gateway its interface and addresses."""
    identifier = gateway["NatGatewayId"]
    new = interface(subnet, "nat_gateway", f"Interface for NAT Gateway {identifier}", [])
    gateway[_ADDRESSES] = {"NetworkInterfaceId": new["NetworkInterfaceId"], "PrivateIp": new["PrivateIpAddress"]}
    if address is not None:
        association = f"eipassoc-{secrets.token_hex(9)[:17]}"
        gateway[_ADDRESSES] |= {
            "AllocationId": address["AllocationId"],
            "PublicIp": address["PublicIp"],
            "AssociationId": association,
        }
        address |= {
            "AssociationId": association,
            "NetworkInterfaceId": new["NetworkInterfaceId"],
            "PrivateIpAddress": new["PrivateIpAddress"],
        }


def _describe_nats(original: Any) -> Any:
    def describe(parameters: dict[str, Any]) -> Answer:
        for identifier in ec2._parse_member_list(parameters, "NatGatewayId"):
            if identifier not in ec2._nat_gateways:
                return _error("NatGatewayNotFound", f"The Nat Gateway {identifier} was not found")
        return _put_addresses(original(parameters), list(ec2._nat_gateways.values()))

    return describe


def _put_addresses(answer: Answer, gateways: list[dict[str, Any]]) -> Answer:
    """Fill the empty address set that MiniStack prints after each gateway's id."""
    status, headers, body = answer
    text = body.decode()
    for gateway in gateways:
        start = text.find(f"<natGatewayId>{gateway['NatGatewayId']}</natGatewayId>")
        if start >= 0:
            text = text[:start] + text[start:].replace("<natGatewayAddressSet/>", _address_set(gateway), 1)
    return status, headers, text.encode()


def _address_set(gateway: dict[str, Any]) -> str:
    addresses = gateway.get(_ADDRESSES)
    if not addresses:
        return "<natGatewayAddressSet></natGatewayAddressSet>"
    fields = "".join(
        f"<{name[0].lower()}{name[1:]}>{value}</{name[0].lower()}{name[1:]}>" for name, value in addresses.items()
    )
    return (
        f"<natGatewayAddressSet><item>{fields}<isPrimary>true</isPrimary><status>succeeded</status></item>"
        "</natGatewayAddressSet>"
    )


def _delete_nat(original: Any) -> Any:
    def delete(parameters: dict[str, Any]) -> Answer:
        gateway = ec2._nat_gateways.get(ec2._p(parameters, "NatGatewayId"))
        if gateway is not None and gateway["State"] != "deleted":
            addresses = gateway.get(_ADDRESSES, {})
            ec2._network_interfaces.pop(addresses.get("NetworkInterfaceId", ""), None)
            address = ec2._addresses.get(addresses.get("AllocationId", ""))
            if address is not None:
                address |= dict.fromkeys(("AssociationId", "NetworkInterfaceId", "PrivateIpAddress"))
        answer: Answer = original(parameters)
        return answer

    return delete


_EVERYBODY = json.dumps(
    {"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
)
_FILTERS = {
    "vpc-id": "VpcId",
    "service-name": "ServiceName",
    "vpc-endpoint-id": "VpcEndpointId",
    "vpc-endpoint-type": "VpcEndpointType",
}


def _create_endpoint(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        refused = _endpoint_refused(parameters)
        if refused is not None:
            return refused
        before = set(ec2._vpc_endpoints)
        original(parameters)
        identifier = next(iter(set(ec2._vpc_endpoints) - before))
        endpoint = ec2._vpc_endpoints[identifier]
        private_dns = ec2._p(parameters, "PrivateDnsEnabled") or "true"
        endpoint |= {
            "PolicyDocument": ec2._p(parameters, "PolicyDocument") or _EVERYBODY,
            "PrivateDnsEnabled": endpoint["VpcEndpointType"] == "Interface" and private_dns.lower() == "true",
            "Groups": _groups(parameters, endpoint),
            "CreateTime": ec2._now_ts(),
            "NetworkInterfaces": {},
        }
        _connect_endpoint(endpoint)
        return ec2._xml(200, "CreateVpcEndpointResponse", ec2._vpce_fields_xml(endpoint, tag="vpcEndpoint"))  # type: ignore[no-any-return]

    return create


def _endpoint_refused(parameters: dict[str, Any]) -> Answer | None:
    vpc, service = ec2._p(parameters, "VpcId"), ec2._p(parameters, "ServiceName")
    if vpc not in ec2._vpcs:
        return _error("InvalidVpcId.NotFound", f"The Vpc Id {vpc} does not exist")
    if not service.startswith(f"com.amazonaws.{get_region()}."):
        return _error("InvalidServiceName", f"The Vpc Endpoint Service '{service}' does not exist")
    is_gateway = (ec2._p(parameters, "VpcEndpointType") or "Gateway") == "Gateway"
    if is_gateway and service.rpartition(".")[2] not in ec2._VPCE_GATEWAY_SERVICES:
        return _error(
            "InvalidParameter",
            f"Endpoint type (Gateway) does not match available service types ([Interface]) for {service}.",
        )
    for field, store, kind in (
        ("RouteTableId", ec2._route_tables, "InvalidRouteTableId"),
        ("SubnetId", ec2._subnets, "InvalidSubnetId"),
        ("SecurityGroupId", ec2._security_groups, "InvalidSecurityGroupId"),
    ):
        for identifier in ec2._parse_member_list(parameters, field):
            if identifier not in store or store[identifier]["VpcId"] != vpc:
                return _error(f"{kind}.NotFound", f"'{identifier}' does not exist in {vpc}")
    if is_gateway and any(
        stored["VpcId"] == vpc
        and stored["ServiceName"] == service
        and stored["VpcEndpointType"] == "Gateway"
        and set(stored["RouteTableIds"]) & set(ec2._parse_member_list(parameters, "RouteTableId"))
        for stored in ec2._vpc_endpoints.values()
    ):
        return _error("RouteAlreadyExists", f"a route table already has a route for {service}")
    return None


def _groups(parameters: dict[str, Any], endpoint: dict[str, Any]) -> list[str]:
    """Return the security groups of an interface endpoint, by default the VPC's."""
    if endpoint["VpcEndpointType"] != "Interface":
        return []
    named: list[str] = ec2._parse_member_list(parameters, "SecurityGroupId")
    return named or [ec2._vpcs[endpoint["VpcId"]]["DefaultSecurityGroupId"]]


def _connect_endpoint(endpoint: dict[str, Any]) -> None:
    """Bring routes and interfaces in line with the endpoint's tables and subnets."""
    identifier = endpoint["VpcEndpointId"]
    for table in ec2._route_tables.values():
        table["Routes"] = [route for route in table["Routes"] if route.get("VpcEndpointId") != identifier]
        if table["RouteTableId"] in endpoint["RouteTableIds"]:
            table["Routes"].append(
                {
                    "DestinationPrefixListId": _prefix_list(endpoint["ServiceName"]),
                    "VpcEndpointId": identifier,
                    "State": "active",
                    "Origin": "CreateRoute",
                }
            )
    interfaces = endpoint.setdefault("NetworkInterfaces", {})
    for subnet in [name for name in interfaces if name not in endpoint["SubnetIds"]]:
        ec2._network_interfaces.pop(interfaces.pop(subnet), None)
    for subnet in endpoint["SubnetIds"]:
        if endpoint["VpcEndpointType"] == "Interface" and subnet not in interfaces:
            new = interface(
                ec2._subnets[subnet], "vpc_endpoint", f"VPC Endpoint Interface {identifier}", endpoint["Groups"]
            )
            interfaces[subnet] = new["NetworkInterfaceId"]


def _prefix_list(service: str) -> str:
    for prefix_list in ec2._get_aws_managed_prefix_lists():
        if prefix_list["PrefixListName"] == service:
            return str(prefix_list["PrefixListId"])
    raise LookupError(f"no prefix list for {service}")


def _describe_endpoints(parameters: dict[str, Any]) -> Answer:
    identifiers = ec2._parse_member_list(parameters, "VpcEndpointId")
    for identifier in identifiers:
        if identifier not in ec2._vpc_endpoints:
            return _error("InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{identifier}' does not exist")
    filters = ec2._parse_filters(parameters)
    items = [
        ec2._vpce_fields_xml(endpoint)
        for endpoint in ec2._vpc_endpoints.values()
        if (not identifiers or endpoint["VpcEndpointId"] in identifiers)
        and ec2._resource_matches_tag_filters(endpoint["VpcEndpointId"], filters)
        and all(endpoint[field] in filters[name] for name, field in _FILTERS.items() if name in filters)
    ]
    return ec2._xml(200, "DescribeVpcEndpointsResponse", f"<vpcEndpointSet>{''.join(items)}</vpcEndpointSet>")  # type: ignore[no-any-return]


def _modify_endpoint(original: Any) -> Any:
    def modify(parameters: dict[str, Any]) -> Answer:
        answer: Answer = original(parameters)
        endpoint = ec2._vpc_endpoints.get(ec2._p(parameters, "VpcEndpointId"))
        if endpoint is None:
            return answer
        if ec2._p(parameters, "ResetPolicy").lower() == "true":
            endpoint["PolicyDocument"] = _EVERYBODY
        if private_dns := ec2._p(parameters, "PrivateDnsEnabled"):
            endpoint["PrivateDnsEnabled"] = private_dns.lower() == "true"
        added = ec2._parse_member_list(parameters, "AddSecurityGroupId")
        removed = ec2._parse_member_list(parameters, "RemoveSecurityGroupId")
        endpoint["Groups"] = [group for group in dict.fromkeys([*endpoint["Groups"], *added]) if group not in removed]
        _connect_endpoint(endpoint)
        for identifier in endpoint["NetworkInterfaces"].values():
            ec2._network_interfaces[identifier]["Groups"] = [
                {"GroupId": group, "GroupName": ec2._security_groups[group]["GroupName"]}
                for group in endpoint["Groups"]
            ]
        return answer

    return modify


def _delete_endpoint(original: Any) -> Any:
    def delete(parameters: dict[str, Any]) -> Answer:
        for identifier in ec2._parse_member_list(parameters, "VpcEndpointId"):
            endpoint = ec2._vpc_endpoints.get(identifier)
            if endpoint is not None:
                endpoint |= {"RouteTableIds": [], "SubnetIds": []}
                _connect_endpoint(endpoint)
        answer: Answer = original(parameters)
        return answer

    return delete


def _endpoint_fields(original: Any) -> Any:
    def fields(endpoint: dict[str, Any], tag: str = "item") -> str:
        text: str = original(endpoint, tag)
        groups = "".join(
            f"<item><groupId>{group}</groupId><groupName>{ec2._security_groups[group]['GroupName']}</groupName></item>"
            for group in endpoint.get("Groups", [])
            if group in ec2._security_groups
        )
        interfaces = "".join(f"<item>{name}</item>" for name in endpoint.get("NetworkInterfaces", {}).values())
        names = ""
        if endpoint["VpcEndpointType"] == "Interface":
            service = endpoint["ServiceName"].rpartition(".")[2]
            host = f"{endpoint['VpcEndpointId']}.{service}.{get_region()}.vpce.amazonaws.com"
            names = f"<item><dnsName>{host}</dnsName><hostedZoneId>Z0000000000000000000</hostedZoneId></item>"
        more = (
            f"<policyDocument>{escape(endpoint.get('PolicyDocument', _EVERYBODY))}</policyDocument>"
            f"<privateDnsEnabled>{str(endpoint.get('PrivateDnsEnabled', False)).lower()}</privateDnsEnabled>"
            f"<requesterManaged>false</requesterManaged><ipAddressType>ipv4</ipAddressType>"
            f"<groupSet>{groups}</groupSet><networkInterfaceIdSet>{interfaces}</networkInterfaceIdSet>"
            f"<dnsEntrySet>{names}</dnsEntrySet><creationTimestamp>{endpoint.get('CreateTime', '')}</creationTimestamp>"
        )
        return text[: text.rindex(f"</{tag}>")] + more + f"</{tag}>"

    return fields


def _error(code: str, message: str) -> Answer:
    answer: Answer = ec2._error(code, message, 400)
    return answer
