# ruff: noqa: INP001 - a Pulumi project, not a package
"""A small program for the real engine: two accounts, several kinds of value that a preview cannot know."""

import json

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
owner = config.get("owner") or "platform"
cicd = aws.Provider(
    "cicd",
    profile="cicd",
    region="eu-central-1",
    allowed_account_ids=[config.get("account") or "222222222222"],
    default_tags=aws.ProviderDefaultTagsArgs(tags={"platform:owner": owner}),
)
dev = aws.Provider("dev", profile="dev", region="eu-central-1", allowed_account_ids=["333333333333"])
in_cicd = pulumi.ResourceOptions(provider=cicd)
zones = aws.get_availability_zones_output(state="available", opts=pulumi.InvokeOutputOptions(provider=cicd))
identity = aws.get_caller_identity_output(opts=pulumi.InvokeOutputOptions(provider=dev))

vpc = aws.ec2.Vpc(
    "network", cidr_block="10.0.0.0/16", enable_dns_hostnames=True, tags={"Name": "network"}, opts=in_cicd
)
subnets = [
    aws.ec2.Subnet(
        f"network-{index}",
        vpc_id=vpc.id,
        cidr_block=f"10.0.{index}.0/24",
        availability_zone=zones.names[index],
        opts=in_cicd,
    )
    for index in range(2)
]
gateway = aws.ec2.InternetGateway("network-gateway", vpc_id=vpc.id, opts=in_cicd)
address = aws.ec2.Eip("network-address", domain="vpc", opts=in_cicd)
nat = aws.ec2.NatGateway("network-nat", subnet_id=subnets[0].id, allocation_id=address.id, opts=in_cicd)
table = aws.ec2.RouteTable("network-table", vpc_id=vpc.id, opts=in_cicd)
aws.ec2.Route(
    "network-route", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", nat_gateway_id=nat.id, opts=in_cicd
)
aws.ec2.RouteTableAssociation("network-association", route_table_id=table.id, subnet_id=subnets[1].id, opts=in_cicd)
aws.ec2.DefaultSecurityGroup("network-closed", vpc_id=vpc.id, ingress=[], egress=[], opts=in_cicd)

role = aws.iam.Role(
    "runner",
    path="/cicd/",
    assume_role_policy=identity.account_id.apply(
        lambda account: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Principal": {"AWS": f"arn:aws:iam::{account}:root"},
                        "Action": "sts:AssumeRole",
                    }
                ],
            }
        )
    ),
    opts=in_cicd,
)
key = aws.kms.Key("state", enable_key_rotation=True, deletion_window_in_days=7, opts=in_cicd)
aws.kms.Alias("state", name="alias/cicd/state", target_key_id=key.arn, opts=in_cicd)
bucket = aws.s3.Bucket("state", opts=in_cicd)
aws.s3.BucketVersioning(
    "state",
    bucket=bucket.bucket,
    versioning_configuration=aws.s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
    opts=in_cicd,
)
aws.iam.RolePolicy(
    "runner-state",
    role=role.name,
    policy=pulumi.Output.json_dumps(
        {
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": [bucket.arn, key.arn]}],
        }
    ),
    opts=in_cicd,
)
secret = config.require_secret("description")
aws.iam.Role(
    "deployer",
    description=secret,
    assume_role_policy=role.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Principal": {"AWS": arn}, "Action": "sts:AssumeRole"}],
            }
        )
    ),
    opts=pulumi.ResourceOptions(provider=dev),
)
cluster = aws.eks.Cluster(
    "runners",
    role_arn=role.arn,
    version="1.35",
    vpc_config=aws.eks.ClusterVpcConfigArgs(subnet_ids=[subnet.id for subnet in subnets]),
    opts=in_cicd,
)
pulumi.export("issuer", cluster.identities[0].oidcs[0].issuer)
pulumi.export("bucket", bucket.bucket)
pulumi.export("zones", zones.names)
