# ruff: noqa: INP001 - a Pulumi project, not a package
"""Runners on machines for the real engine: a manager, its workers, tasks, and what they need."""

import base64
import json

import pulumi
import pulumi_aws as aws

config = pulumi.Config()
cicd = aws.Provider(
    "cicd",
    profile="cicd",
    region="eu-central-1",
    allowed_account_ids=["222222222222"],
    default_tags=aws.ProviderDefaultTagsArgs(tags={"platform:owner": "platform"}),
)
child = pulumi.ResourceOptions(provider=cicd)


def trusting(service: str) -> str:
    """Return a trust document for a service."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


vpc = aws.ec2.Vpc("machines", cidr_block="10.0.0.0/16", opts=child)
subnet = aws.ec2.Subnet(
    "machines", vpc_id=vpc.id, cidr_block="10.0.0.0/24", availability_zone="eu-central-1a", opts=child
)
manager_rules = aws.ec2.SecurityGroup("manager", vpc_id=vpc.id, description="manager", opts=child)
worker_rules = aws.ec2.SecurityGroup("worker", vpc_id=vpc.id, description="workers", opts=child)
aws.vpc.SecurityGroupEgressRule(
    "manager-https",
    security_group_id=manager_rules.id,
    ip_protocol="tcp",
    from_port=443,
    to_port=443,
    cidr_ipv4="0.0.0.0/0",
    opts=child,
)
aws.vpc.SecurityGroupIngressRule(
    "worker-ssh",
    security_group_id=worker_rules.id,
    ip_protocol="tcp",
    from_port=22,
    to_port=22,
    referenced_security_group_id=manager_rules.id,
    opts=child,
)
logs = aws.cloudwatch.LogGroup("machines", name="/cicd/machines", retention_in_days=30, opts=child)
token = aws.ssm.Parameter(
    "token", name="/cicd/runner-small/token", type="SecureString", value=config.require_secret("token"), opts=child
)
role = aws.iam.Role(
    "manager", name="runner-manager-small", assume_role_policy=trusting("ec2.amazonaws.com"), opts=child
)
aws.iam.RolePolicy(
    "manager",
    role=role.name,
    policy=token.arn.apply(
        lambda arn: json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [{"Effect": "Allow", "Action": "ssm:GetParameter", "Resource": arn}],
            }
        )
    ),
    opts=child,
)
profile = aws.iam.InstanceProfile("manager", name="runner-manager-small", role=role.name, opts=child)


def template(name: str, rules: aws.ec2.SecurityGroup, *, user_data: pulumi.Input[str]) -> aws.ec2.LaunchTemplate:
    """Return the template of a kind of machine."""
    return aws.ec2.LaunchTemplate(
        name,
        name=f"runner-{name}",
        image_id="resolve:ssm:/aws/service/canonical/ubuntu/server/24.04/stable/20260115/amd64/hvm/ebs-gp3/ami-id",
        instance_type="t3.large",
        iam_instance_profile=aws.ec2.LaunchTemplateIamInstanceProfileArgs(arn=profile.arn),
        metadata_options=aws.ec2.LaunchTemplateMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        block_device_mappings=[
            aws.ec2.LaunchTemplateBlockDeviceMappingArgs(
                device_name="/dev/sda1",
                ebs=aws.ec2.LaunchTemplateBlockDeviceMappingEbsArgs(
                    encrypted="true", volume_size=50, volume_type="gp3", delete_on_termination="true"
                ),
            )
        ],
        vpc_security_group_ids=[rules.id],
        update_default_version=True,
        user_data=pulumi.Output.from_input(user_data).apply(lambda text: base64.b64encode(text.encode()).decode()),
        opts=child,
    )


comment = config.get("comment") or "first"
manager = template(
    "manager",
    manager_rules,
    user_data=pulumi.Output.concat(
        "#cloud-config\n# ", comment, "\nruncmd: [[echo, ", token.name, ", ", logs.name, "]]\n"
    ),
)
group = aws.autoscaling.Group(
    "manager",
    name="runner-manager-small",
    min_size=1,
    max_size=2,
    desired_capacity=1,
    launch_template=aws.autoscaling.GroupLaunchTemplateArgs(
        id=manager.id, version=manager.latest_version.apply(lambda version: f"{version:.0f}")
    ),
    vpc_zone_identifiers=[subnet.id],
    initial_lifecycle_hooks=[
        aws.autoscaling.GroupInitialLifecycleHookArgs(
            name="drain",
            lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
            default_result="CONTINUE",
            heartbeat_timeout=300,
        )
    ],
    instance_refresh=aws.autoscaling.GroupInstanceRefreshArgs(
        strategy="Rolling",
        preferences=aws.autoscaling.GroupInstanceRefreshPreferencesArgs(
            min_healthy_percentage=100, max_healthy_percentage=200, instance_warmup="0"
        ),
    ),
    tags=[aws.autoscaling.GroupTagArgs(key="Name", value="runner-manager-small", propagate_at_launch=True)],
    opts=child,
)
worker = template("worker", worker_rules, user_data="#cloud-config\n{}\n")
workers = aws.autoscaling.Group(
    "worker",
    name="runner-worker-small",
    min_size=0,
    max_size=config.get_int("workers") or 3,
    desired_capacity=0,
    protect_from_scale_in=True,
    suspended_processes=["AZRebalance"],
    mixed_instances_policy=aws.autoscaling.GroupMixedInstancesPolicyArgs(
        launch_template=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateArgs(
            launch_template_specification=aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateLaunchTemplateSpecificationArgs(
                launch_template_id=worker.id, version="$Default"
            ),
            overrides=[
                aws.autoscaling.GroupMixedInstancesPolicyLaunchTemplateOverrideArgs(instance_type=name)
                for name in ("m7i.large", "m6i.large")
            ],
        ),
        instances_distribution=aws.autoscaling.GroupMixedInstancesPolicyInstancesDistributionArgs(
            on_demand_percentage_above_base_capacity=0, spot_allocation_strategy="price-capacity-optimized"
        ),
    ),
    vpc_zone_identifiers=[subnet.id],
    opts=pulumi.ResourceOptions(provider=cicd, ignore_changes=["desired_capacity"]),
)
aws.autoscaling.LifecycleHook(
    "worker",
    name="drain",
    autoscaling_group_name=workers.name,
    lifecycle_transition="autoscaling:EC2_INSTANCE_TERMINATING",
    default_result="CONTINUE",
    heartbeat_timeout=300,
    opts=child,
)
tasks = aws.iam.Role("tasks", name="runner-tasks", assume_role_policy=trusting("ecs-tasks.amazonaws.com"), opts=child)
cluster = aws.ecs.Cluster("tasks", name="runner-tasks", opts=child)
aws.ecs.ClusterCapacityProviders("tasks", cluster_name=cluster.name, capacity_providers=["FARGATE"], opts=child)
definition = aws.ecs.TaskDefinition(
    "tasks",
    family="runner-tasks",
    cpu="1024",
    memory="2048",
    network_mode="awsvpc",
    requires_compatibilities=["FARGATE"],
    task_role_arn=tasks.arn,
    execution_role_arn=tasks.arn,
    container_definitions=json.dumps(
        [{"name": "job", "image": f"job:{comment}", "portMappings": [{"containerPort": 22}]}]
    ),
    opts=child,
)
pulumi.export("group", group.arn)
pulumi.export("version", manager.latest_version)
pulumi.export("default", manager.default_version)
pulumi.export("revision", definition.revision)
