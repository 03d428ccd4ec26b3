"""One case for each network type of the aws stand-in."""

from __future__ import annotations

from sandbox.tests.support.provider_aws_account import PERMISSIONS
from sandbox.tests.support.provider_aws_case import RETAGGED, TAGS, Case
from tests.support.aws_cases import REGION

ENDPOINT_POLICY = {**PERMISSIONS, "Statement": [{**PERMISSIONS["Statement"][0], "Principal": "*"}]}
CASES = [
    Case(
        token="aws:ec2/vpc:Vpc",
        inputs={"cidrBlock": "10.20.0.0/16", "enableDnsHostnames": True, **TAGS},
        change={"enableDnsHostnames": False, **RETAGGED},
        replace={"cidrBlock": "10.21.0.0/16"},
    ),
    Case(
        token="aws:ec2/subnet:Subnet",
        inputs=lambda w: {"vpcId": w.vpc, "cidrBlock": "10.9.1.0/24", "availabilityZone": f"{REGION}b", **TAGS},
        change={"mapPublicIpOnLaunch": True, **RETAGGED},
        replace={"cidrBlock": "10.9.2.0/24"},
    ),
    Case(
        token="aws:ec2/internetGateway:InternetGateway",
        inputs=lambda w: {"vpcId": w.other_vpc, **TAGS},
        change=RETAGGED,
    ),
    Case(token="aws:ec2/eip:Eip", inputs={"domain": "vpc", **TAGS}, change=RETAGGED),
    Case(
        token="aws:ec2/natGateway:NatGateway",
        inputs=lambda w: {"subnetId": w.subnet_a, "allocationId": w.address, **TAGS},
        change=RETAGGED,
        replace=lambda w: {"subnetId": w.subnet_b},
    ),
    Case(
        token="aws:ec2/routeTable:RouteTable",
        inputs=lambda w: {"vpcId": w.vpc, **TAGS},
        change=RETAGGED,
        replace=lambda w: {"vpcId": w.other_vpc},
    ),
    Case(
        token="aws:ec2/route:Route",
        inputs=lambda w: {"routeTableId": w.table, "destinationCidrBlock": "0.0.0.0/0", "gatewayId": w.gateway},
        change=lambda w: {"gatewayId": None, "natGatewayId": w.nat},
        replace={"destinationCidrBlock": "198.51.100.0/24"},
        import_id=lambda state: f"{state.outputs['routeTableId']}_{state.outputs['destinationCidrBlock']}",
    ),
    Case(
        token="aws:ec2/routeTableAssociation:RouteTableAssociation",
        inputs=lambda w: {"routeTableId": w.table, "subnetId": w.subnet_a},
        replace=lambda w: {"routeTableId": w.other_table},
        import_id=lambda state: f"{state.outputs['subnetId']}/{state.outputs['routeTableId']}",
    ),
    Case(
        token="aws:ec2/vpcEndpoint:VpcEndpoint",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "serviceName": f"com.amazonaws.{REGION}.s3",
            "routeTableIds": [w.table],
            "policy": ENDPOINT_POLICY,
            **TAGS,
        },
        change=lambda w: {"routeTableIds": [w.table, w.other_table], **RETAGGED},
        replace=lambda w: {"vpcId": w.other_vpc, "routeTableIds": []},
    ),
    Case(
        token="aws:ec2/flowLog:FlowLog",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "iamRoleArn": w.role_arn,
            "logDestination": w.logs_arn,
            "trafficType": "ALL",
            **TAGS,
        },
        change=RETAGGED,
        replace={"trafficType": "REJECT"},
        kept_inputs=frozenset({"iamRoleArn"}),  # MiniStack does not tell; AWS would
    ),
    Case(
        token="aws:ec2/securityGroup:SecurityGroup",
        inputs=lambda w: {
            "vpcId": w.vpc,
            "description": "d",
            "ingress": [
                {"protocol": "tcp", "fromPort": 443, "toPort": 443, "cidrBlocks": ["10.1.0.0/16", "10.0.0.0/16"]},
                {"protocol": "-1", "fromPort": 0, "toPort": 0, "self": True, "description": "each other"},
            ],
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            **TAGS,
        },
        change=lambda w: {
            "ingress": [{"protocol": "tcp", "fromPort": 22, "toPort": 22, "securityGroups": [w.group]}],
            **RETAGGED,
        },
        replace={"description": "e"},
    ),
    Case(
        token="aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
        inputs=lambda w: {"vpcId": w.vpc, "ingress": [], "egress": [], **TAGS},
        change={
            "egress": [{"protocol": "-1", "fromPort": 0, "toPort": 0, "cidrBlocks": ["0.0.0.0/0"]}],
            **RETAGGED,
        },
        leaves=True,
    ),
    Case(
        token="aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
        inputs=lambda w: {
            "securityGroupId": w.group,
            "ipProtocol": "tcp",
            "fromPort": 443,
            "toPort": 443,
            "cidrIpv4": "10.0.0.0/8",
            "description": "d",
            **TAGS,
        },
        change={"fromPort": 8443, "toPort": 8443, "cidrIpv4": "10.1.0.0/16", **RETAGGED},
    ),
    Case(
        token="aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
        inputs=lambda w: {"securityGroupId": w.group, "ipProtocol": "-1", "referencedSecurityGroupId": w.group},
        change={"ipProtocol": "tcp", "fromPort": 1, "toPort": 2},
    ),
]
