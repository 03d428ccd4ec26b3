"""NAT gateways with their addresses and network interface.

MiniStack answers an empty address set. In AWS a public gateway takes an Elastic IP and a private address of its subnet,
keeps both until it is deleted, and stays listed as deleted for a while.
"""

from __future__ import annotations

import ipaddress
import itertools
import secrets
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_account_id
from ministack.services import ec2

from sandbox_aws.patching import wrap

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from sandbox_aws.answers import Answer

_ADDRESSES = "SandboxAddress"
"""Field of a stored gateway: its address set of one."""


def install(table: MutableMapping[str, Any]) -> None:
    """Replace the three operations."""
    wrap(table, "CreateNatGateway", _create)
    wrap(table, "DescribeNatGateways", _describe)
    wrap(table, "DeleteNatGateway", _delete)


def private_address(subnet: dict[str, Any]) -> str:
    """Return an address of the subnet that no interface has; the first four and the last are AWS's own."""
    taken = {one["PrivateIpAddress"] for one in ec2._network_interfaces.values()}
    network = ipaddress.IPv4Network(subnet["CidrBlock"])
    usable = itertools.islice(network, 4, network.num_addresses - 1)
    return next(str(host) for host in usable if str(host) not in taken)


def interface(subnet: dict[str, Any], kind: str, description: str, groups: list[str]) -> dict[str, Any]:
    """Make the network interface of a gateway or an endpoint, and return its record."""
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
        "Groups": [{"GroupId": one, "GroupName": ec2._security_groups[one]["GroupName"]} for one in groups],
        "Attachment": None,
    }
    ec2._network_interfaces[identifier] = record
    return record


def _create(original: Any) -> Any:
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
            _connect(gateway, subnet, address)
            return _put_addresses(answer, [gateway])
        return answer

    return create


def _connect(gateway: dict[str, Any], subnet: dict[str, Any], address: dict[str, Any] | None) -> None:
    """Give a new gateway its interface and addresses."""
    identifier = gateway["NatGatewayId"]
    made = interface(subnet, "nat_gateway", f"Interface for NAT Gateway {identifier}", [])
    gateway[_ADDRESSES] = {"NetworkInterfaceId": made["NetworkInterfaceId"], "PrivateIp": made["PrivateIpAddress"]}
    if address is not None:
        association = f"eipassoc-{secrets.token_hex(9)[:17]}"
        gateway[_ADDRESSES] |= {
            "AllocationId": address["AllocationId"],
            "PublicIp": address["PublicIp"],
            "AssociationId": association,
        }
        address |= {
            "AssociationId": association,
            "NetworkInterfaceId": made["NetworkInterfaceId"],
            "PrivateIpAddress": made["PrivateIpAddress"],
        }


def _describe(original: Any) -> Any:
    def describe(parameters: dict[str, Any]) -> Answer:
        wanted = ec2._parse_member_list(parameters, "NatGatewayId")
        for identifier in wanted:
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
    shown = gateway.get(_ADDRESSES)
    if not shown:
        return "<natGatewayAddressSet></natGatewayAddressSet>"
    fields = "".join(
        f"<{name[0].lower()}{name[1:]}>{value}</{name[0].lower()}{name[1:]}>" for name, value in shown.items()
    )
    return (
        f"<natGatewayAddressSet><item>{fields}<isPrimary>true</isPrimary><status>succeeded</status></item>"
        "</natGatewayAddressSet>"
    )


def _delete(original: Any) -> Any:
    def delete(parameters: dict[str, Any]) -> Answer:
        gateway = ec2._nat_gateways.get(ec2._p(parameters, "NatGatewayId"))
        if gateway is not None and gateway["State"] != "deleted":
            shown = gateway.get(_ADDRESSES, {})
            ec2._network_interfaces.pop(shown.get("NetworkInterfaceId", ""), None)
            address = ec2._addresses.get(shown.get("AllocationId", ""))
            if address is not None:
                address |= dict.fromkeys(("AssociationId", "NetworkInterfaceId", "PrivateIpAddress"))
        answer: Answer = original(parameters)
        return answer

    return delete


def _error(code: str, message: str) -> Answer:
    answer: Answer = ec2._error(code, message, 400)
    return answer
