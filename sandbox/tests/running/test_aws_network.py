"""EC2's network: what is kept, and what AWS refuses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sandbox.tests.support.aws_network import Network, network
from tests.support.aws_cases import DEV, REGION, Cloud, policy, refusal, unique

pytestmark = pytest.mark.sandbox
pytest_plugins = ("sandbox.tests.support.aws_fixture",)


@pytest.fixture
def net(aws: Cloud) -> Network:
    """A network of its own for each test."""
    return network(aws, DEV)


def code(call: Any, **fields: Any) -> str:
    """Return the code of the error that a call ends with."""
    return refusal(call, **fields)[1]


def test_a_nat_gateway_has_its_addresses_and_frees_them_when_it_goes(net: Network) -> None:
    ec2, subnet = net.ec2, net.subnets[0]
    address = ec2.allocate_address(Domain="vpc")
    made = ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address["AllocationId"])["NatGateway"]
    shown = made["NatGatewayAddresses"][0]
    assert (shown["PublicIp"], shown["AllocationId"]) == (address["PublicIp"], address["AllocationId"])
    assert shown["PrivateIp"].startswith("10.40.")
    interface = ec2.describe_network_interfaces(NetworkInterfaceIds=[shown["NetworkInterfaceId"]])["NetworkInterfaces"][
        0
    ]
    assert (interface["SubnetId"], interface["PrivateIpAddress"]) == (subnet, shown["PrivateIp"])
    gateway = {"NatGatewayIds": [made["NatGatewayId"]]}
    assert ec2.describe_nat_gateways(**gateway)["NatGateways"][0]["NatGatewayAddresses"] == made["NatGatewayAddresses"]
    assert code(ec2.release_address, AllocationId=address["AllocationId"]) == "InvalidIPAddress.InUse"
    again = {"SubnetId": net.subnets[1], "AllocationId": address["AllocationId"]}
    assert code(ec2.create_nat_gateway, **again) == "InvalidIPAddress.InUse"
    assert code(ec2.delete_subnet, SubnetId=subnet) == "DependencyViolation"
    ec2.delete_nat_gateway(NatGatewayId=made["NatGatewayId"])
    assert ec2.describe_nat_gateways(**gateway)["NatGateways"][0]["State"] == "deleted"
    ec2.release_address(AllocationId=address["AllocationId"])
    ec2.delete_subnet(SubnetId=subnet)
    assert code(ec2.describe_nat_gateways, NatGatewayIds=["nat-0"]) == "NatGatewayNotFound"


def test_two_nat_gateways_keep_their_addresses_apart(net: Network) -> None:
    made = {}
    for subnet in net.subnets:
        address = net.ec2.allocate_address(Domain="vpc")
        gateway = net.ec2.create_nat_gateway(SubnetId=subnet, AllocationId=address["AllocationId"])["NatGateway"]
        made[gateway["NatGatewayId"]] = address["PublicIp"]
    found = net.ec2.describe_nat_gateways(NatGatewayIds=list(made))["NatGateways"]
    assert {one["NatGatewayId"]: one["NatGatewayAddresses"][0]["PublicIp"] for one in found} == made


def test_a_nat_gateway_needs_a_subnet_and_an_address(net: Network) -> None:
    create = net.ec2.create_nat_gateway
    assert code(create, SubnetId="subnet-0", AllocationId="eipalloc-0") == "InvalidSubnetID.NotFound"
    assert code(create, SubnetId=net.subnets[0], AllocationId="eipalloc-0") == "InvalidAllocationID.NotFound"
    assert code(create, SubnetId=net.subnets[0]) == "MissingParameter"


def test_a_gateway_endpoint_puts_its_route_into_each_of_its_tables(net: Network) -> None:
    ec2 = net.ec2
    tables = [ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"] for _ in range(2)]
    asked = {"VpcId": net.vpc, "ServiceName": f"com.amazonaws.{REGION}.s3", "RouteTableIds": tables[:1]}
    endpoint = ec2.create_vpc_endpoint(**asked)["VpcEndpoint"]
    identifier = endpoint["VpcEndpointId"]
    lists = ec2.describe_prefix_lists(Filters=[{"Name": "prefix-list-name", "Values": [asked["ServiceName"]]}])
    expected = (lists["PrefixLists"][0]["PrefixListId"], identifier)

    def routed() -> list[str]:
        found = ec2.describe_route_tables(RouteTableIds=tables)["RouteTables"]
        return [
            table["RouteTableId"]
            for table in found
            if expected in [(route.get("DestinationPrefixListId"), route.get("GatewayId")) for route in table["Routes"]]
        ]

    assert routed() == tables[:1]
    assert code(ec2.create_vpc_endpoint, **asked) == "RouteAlreadyExists"
    ec2.modify_vpc_endpoint(VpcEndpointId=identifier, AddRouteTableIds=tables[1:], RemoveRouteTableIds=tables[:1])
    assert routed() == tables[1:]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[identifier])
    assert routed() == []
    assert code(ec2.describe_vpc_endpoints, VpcEndpointIds=[identifier]) == "InvalidVpcEndpointId.NotFound"


def test_an_endpoints_policy_is_kept_and_can_be_reset(net: Network) -> None:
    document = policy({"Principal": "*", "Action": "s3:GetObject", "Resource": "*"})
    table = net.ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    made = net.ec2.create_vpc_endpoint(
        VpcId=net.vpc, ServiceName=f"com.amazonaws.{REGION}.s3", RouteTableIds=[table], PolicyDocument=document
    )["VpcEndpoint"]
    assert json.loads(made["PolicyDocument"]) == json.loads(document)
    net.ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], ResetPolicy=True)
    found = net.ec2.describe_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])["VpcEndpoints"][0]
    assert json.loads(found["PolicyDocument"])["Statement"][0]["Action"] == "*"


def test_an_interface_endpoint_has_interfaces_groups_and_names(net: Network) -> None:
    ec2 = net.ec2
    group = ec2.create_security_group(GroupName=unique(), Description="d", VpcId=net.vpc)["GroupId"]
    made = ec2.create_vpc_endpoint(
        VpcId=net.vpc,
        ServiceName=f"com.amazonaws.{REGION}.sts",
        VpcEndpointType="Interface",
        SubnetIds=list(net.subnets),
        SecurityGroupIds=[group],
        PrivateDnsEnabled=True,
    )["VpcEndpoint"]
    assert made["PrivateDnsEnabled"] is True
    assert [one["GroupId"] for one in made["Groups"]] == [group]
    assert len(made["NetworkInterfaceIds"]) == 2
    assert made["DnsEntries"][0]["DnsName"].startswith(made["VpcEndpointId"])
    assert code(ec2.delete_security_group, GroupId=group) == "DependencyViolation"
    ec2.modify_vpc_endpoint(VpcEndpointId=made["VpcEndpointId"], RemoveSubnetIds=[net.subnets[0]])
    found = ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [net.vpc]}])["VpcEndpoints"]
    assert [len(one["NetworkInterfaceIds"]) for one in found] == [1]
    ec2.delete_vpc_endpoints(VpcEndpointIds=[made["VpcEndpointId"]])
    ec2.delete_security_group(GroupId=group)


@pytest.mark.parametrize(
    ("expected", "fields"),
    [
        ("InvalidServiceName", {"ServiceName": "com.amazonaws.us-east-1.s3"}),
        ("InvalidParameter", {"ServiceName": f"com.amazonaws.{REGION}.sts"}),
        ("InvalidVpcId.NotFound", {"VpcId": "vpc-0"}),
        ("InvalidRouteTableId.NotFound", {"RouteTableIds": ["rtb-0"]}),
    ],
)
def test_an_endpoint_that_ec2_would_refuse_is_refused(net: Network, expected: str, fields: dict[str, Any]) -> None:
    asked = {"VpcId": net.vpc, "ServiceName": f"com.amazonaws.{REGION}.s3"} | fields
    assert code(net.ec2.create_vpc_endpoint, **asked) == expected


@pytest.mark.parametrize("block", ["10.0.0.0/8", "10.0.0.0/29", "10.0.0.1/16", "nonsense", "2001:db8::/56"])
def test_a_range_that_no_vpc_can_have_is_refused(aws: Cloud, block: str) -> None:
    assert refusal(aws.root(DEV).client("ec2").create_vpc, CidrBlock=block)[0] == 400


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("10.41.0.0/20", "InvalidSubnet.Range"),
        ("10.40.0.0/24", "InvalidSubnet.Conflict"),
        ("10.40.128.0/29", "InvalidSubnet.Range"),
    ],
)
def test_a_subnet_lies_in_its_vpc_and_overlaps_no_other(net: Network, block: str, expected: str) -> None:
    assert code(net.ec2.create_subnet, VpcId=net.vpc, CidrBlock=block) == expected


def test_a_subnet_says_how_many_addresses_it_has(net: Network) -> None:
    found = net.ec2.describe_subnets(SubnetIds=[net.subnets[0]])["Subnets"][0]
    assert found["AvailableIpAddressCount"] == 4096 - 5


def test_a_route_and_a_rule_exist_once(net: Network) -> None:
    ec2 = net.ec2
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=net.vpc)
    table = ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    route = {"RouteTableId": table, "DestinationCidrBlock": "0.0.0.0/0", "GatewayId": gateway}
    assert code(ec2.create_route, **route | {"GatewayId": "igw-0"}) == "InvalidGatewayID.NotFound"
    ec2.create_route(**route)
    assert code(ec2.create_route, **route) == "RouteAlreadyExists"
    group = ec2.create_security_group(GroupName=unique(), Description="d", VpcId=net.vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 443, "ToPort": 443, "IpRanges": [{"CidrIp": "10.40.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    duplicate = {"GroupId": group, "IpPermissions": [rule]}
    assert code(ec2.authorize_security_group_ingress, **duplicate) == "InvalidPermission.Duplicate"
    other = rule | {"IpRanges": [{"CidrIp": "10.41.0.0/16"}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[other])


def test_what_is_in_use_is_not_deleted(net: Network) -> None:
    ec2 = net.ec2
    table = ec2.create_route_table(VpcId=net.vpc)["RouteTable"]["RouteTableId"]
    association = ec2.associate_route_table(RouteTableId=table, SubnetId=net.subnets[0])["AssociationId"]
    assert code(ec2.delete_route_table, RouteTableId=table) == "DependencyViolation"
    ec2.disassociate_route_table(AssociationId=association)
    ec2.delete_route_table(RouteTableId=table)
    assert code(ec2.describe_route_tables, RouteTableIds=[table]) == "InvalidRouteTableID.NotFound"
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    attached = {"InternetGatewayId": gateway, "VpcId": net.vpc}
    ec2.attach_internet_gateway(**attached)
    address = ec2.allocate_address(Domain="vpc")["AllocationId"]
    nat = ec2.create_nat_gateway(SubnetId=net.subnets[0], AllocationId=address)["NatGateway"]["NatGatewayId"]
    assert code(ec2.detach_internet_gateway, **attached) == "DependencyViolation"
    ec2.delete_nat_gateway(NatGatewayId=nat)
    ec2.detach_internet_gateway(**attached)
    assert code(ec2.create_route_table, VpcId="vpc-0") == "InvalidVpcID.NotFound"
