"""VPC endpoints with everything that MiniStack forgets about them.

A gateway endpoint puts a route to the service's prefix list into each of its tables; an interface endpoint has network
interfaces, security groups, private DNS and a policy. Names resolve nowhere.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ministack.core.responses import get_region
from ministack.services import ec2

from sandbox_aws import ec2_nat
from sandbox_aws.patching import replace, wrap

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sandbox_aws.answers import Answer

_EVERYBODY = json.dumps(
    {"Version": "2008-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}]}
)
_FILTERS = {
    "vpc-id": "VpcId",
    "service-name": "ServiceName",
    "vpc-endpoint-id": "VpcEndpointId",
    "vpc-endpoint-type": "VpcEndpointType",
}


def install(table: MutableMapping[str, Any]) -> None:
    """Replace the operations and what they print."""
    wrap(table, "CreateVpcEndpoint", _create)
    wrap(table, "ModifyVpcEndpoint", _modify)
    wrap(table, "DeleteVpcEndpoints", _delete)
    table["DescribeVpcEndpoints"] = _describe
    replace("services.ec2", "_vpce_fields_xml", _printed)


def _create(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        refused = _refused(parameters)
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
        _connect(endpoint)
        return ec2._xml(200, "CreateVpcEndpointResponse", ec2._vpce_fields_xml(endpoint, tag="vpcEndpoint"))  # type: ignore[no-any-return]

    return create


def _refused(parameters: dict[str, Any]) -> Answer | None:
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
        for one in ec2._parse_member_list(parameters, field):
            if one not in store or store[one]["VpcId"] != vpc:
                return _error(f"{kind}.NotFound", f"'{one}' does not exist in {vpc}")
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
    """Return the security groups of an interface endpoint; the VPC's default where none is named."""
    if endpoint["VpcEndpointType"] != "Interface":
        return []
    named: list[str] = ec2._parse_member_list(parameters, "SecurityGroupId")
    return named or [ec2._vpcs[endpoint["VpcId"]]["DefaultSecurityGroupId"]]


def _connect(endpoint: dict[str, Any]) -> None:
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
    for subnet in [one for one in interfaces if one not in endpoint["SubnetIds"]]:
        ec2._network_interfaces.pop(interfaces.pop(subnet), None)
    for subnet in endpoint["SubnetIds"]:
        if endpoint["VpcEndpointType"] == "Interface" and subnet not in interfaces:
            made = ec2_nat.interface(
                ec2._subnets[subnet], "vpc_endpoint", f"VPC Endpoint Interface {identifier}", endpoint["Groups"]
            )
            interfaces[subnet] = made["NetworkInterfaceId"]


def _prefix_list(service: str) -> str:
    for one in ec2._get_aws_managed_prefix_lists():
        if one["PrefixListName"] == service:
            return str(one["PrefixListId"])
    raise LookupError(f"no prefix list for {service}")


def _describe(parameters: dict[str, Any]) -> Answer:
    wanted = ec2._parse_member_list(parameters, "VpcEndpointId")
    for one in wanted:
        if one not in ec2._vpc_endpoints:
            return _error("InvalidVpcEndpointId.NotFound", f"The Vpc Endpoint Id '{one}' does not exist")
    filters = ec2._parse_filters(parameters)
    shown = [
        ec2._vpce_fields_xml(endpoint)
        for endpoint in ec2._vpc_endpoints.values()
        if (not wanted or endpoint["VpcEndpointId"] in wanted)
        and ec2._resource_matches_tag_filters(endpoint["VpcEndpointId"], filters)
        and all(endpoint[field] in filters[name] for name, field in _FILTERS.items() if name in filters)
    ]
    return ec2._xml(200, "DescribeVpcEndpointsResponse", f"<vpcEndpointSet>{''.join(shown)}</vpcEndpointSet>")  # type: ignore[no-any-return]


def _modify(original: Any) -> Any:
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
        endpoint["Groups"] = [one for one in dict.fromkeys([*endpoint["Groups"], *added]) if one not in removed]
        _connect(endpoint)
        for made in endpoint["NetworkInterfaces"].values():
            ec2._network_interfaces[made]["Groups"] = [
                {"GroupId": one, "GroupName": ec2._security_groups[one]["GroupName"]} for one in endpoint["Groups"]
            ]
        return answer

    return modify


def _delete(original: Any) -> Any:
    def delete(parameters: dict[str, Any]) -> Answer:
        for identifier in ec2._parse_member_list(parameters, "VpcEndpointId"):
            endpoint = ec2._vpc_endpoints.get(identifier)
            if endpoint is not None:
                endpoint |= {"RouteTableIds": [], "SubnetIds": []}
                _connect(endpoint)
        answer: Answer = original(parameters)
        return answer

    return delete


def _printed(original: Any) -> Any:
    def fields(endpoint: dict[str, Any], tag: str = "item") -> str:
        text: str = original(endpoint, tag)
        groups = "".join(
            f"<item><groupId>{one}</groupId><groupName>{ec2._security_groups[one]['GroupName']}</groupName></item>"
            for one in endpoint.get("Groups", [])
            if one in ec2._security_groups
        )
        interfaces = "".join(f"<item>{one}</item>" for one in endpoint.get("NetworkInterfaces", {}).values())
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
