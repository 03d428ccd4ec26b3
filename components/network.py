"""Network: the platform's VPC, or existing subnets, which it verifies and never changes.

Owns, for a new VPC: VPC, one public and one private subnet per zone, NAT (one, or one per zone), S3 gateway endpoint,
flow logs, and a default security group without rules. The arithmetic of subnets is in `documents/network.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_aws as aws

from components.documents import network, trust
from components.documents.network import flow_log_writer
from config.partitions import ZONES_WITHOUT_EKS, is_availability_zone

if TYPE_CHECKING:
    from collections.abc import Sequence

    from config.names import Names
    from config.sections import ExistingNetwork
    from config.sections import Network as NetworkSettings

FLOW_LOG_DAYS = 30


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Inputs of `Network`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the network."""
    settings: NetworkSettings
    """A new VPC, or an existing one."""


class Network(pulumi.ComponentResource):
    """Network of the cluster's nodes."""

    vpc_id: pulumi.Output[str]
    """The VPC."""
    vpc_cidrs: pulumi.Output[list[str]]
    """IPv4 networks of the VPC."""
    private_subnet_ids: pulumi.Output[list[str]]
    """Subnets of the nodes, in zone order."""
    machine_subnet_ids: pulumi.Output[list[str]]
    """Subnets of EC2 instances: the private ones, or without NAT the public ones."""
    routes: Sequence[pulumi.Resource]
    """Routes, NAT gateways and endpoints, which outlive the last node."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Network", name, None, opts)
        self._name, self._names, self._account_id = name, args.names, args.account_id
        self._child = pulumi.ResourceOptions(parent=self)
        if args.settings.existing is not None:
            self._verify(args.settings.existing, args.settings.endpoint_cidrs)
        else:
            self._build(args.settings)
        self.register_outputs({"vpc_id": self.vpc_id, "private_subnet_ids": self.private_subnet_ids})

    def _verify(self, existing: ExistingNetwork, endpoint_cidrs: Sequence[str]) -> None:
        look_up = pulumi.InvokeOptions(parent=self)
        vpc = aws.ec2.get_vpc_output(id=existing.vpc, opts=look_up)
        subnets = [aws.ec2.get_subnet_output(id=subnet, opts=look_up) for subnet in existing.private]
        self.vpc_id = vpc.id
        self.vpc_cidrs = vpc.cidr_block_associations.apply(
            lambda associations: closed_networks([entry.cidr_block for entry in associations], endpoint_cidrs)
        )
        self.private_subnet_ids = pulumi.Output.all(*subnets).apply(lambda values: verified_subnets(existing, values))
        self.machine_subnet_ids = self.private_subnet_ids
        self.routes = ()

    def _build(self, settings: NetworkSettings) -> None:
        name, child = self._name, self._child
        if settings.cidr is None or settings.zones is None:
            raise ValueError(
                "settings has neither a network of its own nor an existing one; write {cidr, zones, nat} or {existing}"
            )
        cidrs = network.cut_vpc(settings.cidr, settings.zones)
        vpc = aws.ec2.Vpc(
            f"{name}-vpc",
            cidr_block=settings.cidr,
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": self._names.cluster},
            opts=child,
        )
        zones = aws.get_availability_zones_output(
            state="available",
            filters=[{"name": "opt-in-status", "values": ["opt-in-not-required"]}],
            opts=pulumi.InvokeOptions(parent=self),
        ).apply(partial(usable_zones, count=settings.zones))
        aws.ec2.DefaultSecurityGroup(
            f"{name}-default-security-group", vpc_id=vpc.id, opts=child
        )  # without rules it is closed
        public = self._subnets(vpc, "public", cidrs.public, zones)
        private = self._subnets(vpc, "private", cidrs.private, zones)
        gateway = aws.ec2.InternetGateway(f"{name}-internet-gateway", vpc_id=vpc.id, opts=child)
        public_routes = self._table(vpc, "public", public, [("gateway_id", gateway.id)])
        gateways = {"none": 0, "single": 1}.get(settings.nat or "", len(public))
        nats = self._nats(public[:gateways], public_routes)
        tables: list[pulumi.Resource] = []
        for index, subnet in enumerate(private):
            ways_out = [("nat_gateway_id", nats[index % len(nats)].id)] if nats else []
            tables += self._table(vpc, f"private-{index}", [subnet], ways_out)
        endpoint = self._s3_endpoint(vpc, tables if nats else [*public_routes, *tables])
        self._flow_logs(vpc)
        self.vpc_id = vpc.id
        self.vpc_cidrs = pulumi.Output.from_input([settings.cidr])
        self.private_subnet_ids = pulumi.Output.all(*(subnet.id for subnet in private))
        self.machine_subnet_ids = (
            self.private_subnet_ids if nats else pulumi.Output.all(*(subnet.id for subnet in public))
        )
        self.routes = [*public_routes, *nats, *tables, endpoint]

    def _subnets(
        self, vpc: aws.ec2.Vpc, kind: str, cidrs: Sequence[str], zones: pulumi.Output[Any]
    ) -> list[aws.ec2.Subnet]:
        role = "elb" if kind == "public" else "internal-elb"
        return [
            aws.ec2.Subnet(
                f"{self._name}-{kind}-{index}",
                vpc_id=vpc.id,
                cidr_block=cidr,
                availability_zone=zones[index],
                tags={"Name": f"{self._names.cluster}-{kind}-{index}", f"kubernetes.io/role/{role}": "1"},
                opts=self._child,
            )
            for index, cidr in enumerate(cidrs)
        ]

    def _table(
        self,
        vpc: aws.ec2.Vpc,
        kind: str,
        members: Sequence[aws.ec2.Subnet],
        targets: Sequence[tuple[str, pulumi.Output[str]]],
    ) -> list[pulumi.Resource]:
        name = f"{self._name}-{kind}"
        table = aws.ec2.RouteTable(
            f"{name}-routes", vpc_id=vpc.id, tags={"Name": f"{self._names.cluster}-{kind}"}, opts=self._child
        )
        resources: list[pulumi.Resource] = [table]
        for key, target in targets:
            destination: dict[str, Any] = {"destination_cidr_block": "0.0.0.0/0", key: target}
            resources.append(aws.ec2.Route(f"{name}-default", route_table_id=table.id, **destination, opts=self._child))
        for index, subnet in enumerate(members):
            resources.append(
                aws.ec2.RouteTableAssociation(
                    f"{name}-{index}-association", route_table_id=table.id, subnet_id=subnet.id, opts=self._child
                )
            )
        return resources

    def _nats(self, public: Sequence[aws.ec2.Subnet], routes: Sequence[pulumi.Resource]) -> list[aws.ec2.NatGateway]:
        gateways = []
        for index, subnet in enumerate(public):
            address = aws.ec2.Eip(f"{self._name}-nat-{index}-address", domain="vpc", opts=self._child)
            gateways.append(
                aws.ec2.NatGateway(
                    f"{self._name}-nat-{index}",
                    subnet_id=subnet.id,
                    allocation_id=address.id,
                    tags={"Name": f"{self._names.cluster}-{index}"},
                    opts=pulumi.ResourceOptions(parent=self, depends_on=list(routes)),
                )
            )
        return gateways

    def _s3_endpoint(self, vpc: aws.ec2.Vpc, tables: Sequence[pulumi.Resource]) -> aws.ec2.VpcEndpoint:
        # Free, and jobs pull mostly from S3: image layers, caches, state.
        return aws.ec2.VpcEndpoint(
            f"{self._name}-s3",
            vpc_id=vpc.id,
            service_name=f"com.amazonaws.{self._names.organization.region}.s3",
            vpc_endpoint_type="Gateway",
            route_table_ids=[table.id for table in tables if isinstance(table, aws.ec2.RouteTable)],
            opts=self._child,
        )

    def _flow_logs(self, vpc: aws.ec2.Vpc) -> None:
        name, names = f"{self._name}-flow-log", self._names
        log_group = f"/aws/vpc/{names.cluster}/flow-logs"
        group = aws.cloudwatch.LogGroup(
            f"{name}-group",
            name=log_group,  # fixed: the role's document names it before it exists
            retention_in_days=FLOW_LOG_DAYS,
            opts=self._child,
        )
        role = aws.iam.Role(
            f"{name}-role",
            name=names.flow_log_role(),  # fixed: the stack's name keeps it apart from other stacks' roles
            path=names.role_path,
            assume_role_policy=pulumi.Output.json_dumps(
                trust.service("vpc-flow-logs.amazonaws.com", for_account=self._account_id)
            ),
            permissions_boundary=names.organization_boundary(self._account_id),
            opts=self._child,
        )
        document = flow_log_writer(names.organization, self._account_id, log_group)
        policy = aws.iam.RolePolicy(
            f"{name}-policy", role=role.name, policy=pulumi.Output.json_dumps(document), opts=self._child
        )
        aws.ec2.FlowLog(
            name,
            vpc_id=vpc.id,
            traffic_type="ALL",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[policy]),
        )


def usable_zones(available: Any, count: int) -> list[str]:
    """Return the names of zones for a new VPC: the first ones with EKS.

    Args:
        available: the region's zones, with `names` and `zone_ids` in one order.
        count: how many.

    Raises:
        RunError: the account has fewer zones with EKS in this region.
    """
    pairs = zip_longest(available.names, available.zone_ids or ())
    names = [name for name, zone_id in pairs if zone_id not in ZONES_WITHOUT_EKS]
    if len(names) < count:
        raise pulumi.RunError(
            f"network.zones: is {count}, and the account has {len(names)} zones with EKS in this region ({', '.join(names)}); "
            f"write zones: {len(names)}, or choose another region"
        )
    return names[:count]


def closed_networks(vpc_cidrs: Sequence[str], endpoint_cidrs: Sequence[str]) -> list[str]:
    """Return the networks of an existing VPC, which are closed to jobs, after checking that no endpoint's network opens a whole one.

    Raises:
        RunError: a network of endpoints holds all of a network of the VPC, and so nodes and the API server.
    """
    for endpoints in endpoint_cidrs:
        opened = next((cidr for cidr in vpc_cidrs if IPv4Network(cidr).subnet_of(IPv4Network(endpoints))), None)
        if opened is not None:
            raise pulumi.RunError(
                f"network.endpoint_cidrs: {endpoints} holds all of {opened} of the VPC, so that jobs would reach nodes and the API server; "
                "list the subnets that hold the endpoints"
            )
    return list(vpc_cidrs)


def verified_subnets(existing: ExistingNetwork, subnets: Sequence[Any]) -> list[str]:
    """Return the ids of existing subnets, after checking that nodes can live there.

    Raises:
        RunError: a subnet is in another VPC, gives public addresses, or is where EKS takes none; or all subnets are in one zone.
    """
    for subnet in subnets:
        mistake = _mistake(existing, subnet)
        if mistake is not None:
            raise pulumi.RunError(f"network.existing.private: {subnet.id} {mistake}")
    zones = {subnet.availability_zone for subnet in subnets}
    if len(zones) < min(2, len(existing.private)):
        raise pulumi.RunError(
            f"network.existing.private: all subnets are in {', '.join(zones)}; EKS needs two zones: list subnets of at least two"
        )
    return [subnet.id for subnet in subnets]


def _mistake(existing: ExistingNetwork, subnet: Any) -> str | None:
    """Return why nodes of EKS cannot live in a subnet, with the remedy, else None.

    Source: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
    """
    zone, zone_id = subnet.availability_zone, subnet.availability_zone_id
    mistakes = {
        f"is in {subnet.vpc_id}, not in {existing.vpc}; list subnets of that VPC": subnet.vpc_id != existing.vpc,
        "gives public addresses to what starts in it; list private subnets": subnet.map_public_ip_on_launch,
        "has no IPv4 addresses, and the cluster's pods have such; list subnets with an IPv4 network": subnet.ipv6_native,
        f"is on the Outpost {subnet.outpost_arn}, where EKS Auto Mode has no nodes; list subnets of the region's zones": subnet.outpost_arn,
        f"is in {zone}, a Local Zone or Wavelength Zone, where EKS has no control plane; list subnets of the region's zones": (
            not is_availability_zone(zone)
        ),
        f"is in {zone} ({zone_id}), a zone without EKS; list subnets of other zones": zone_id in ZONES_WITHOUT_EKS,
    }
    return next((text for text, applies in mistakes.items() if applies), None)
