"""Functions (data sources) that the programs use; previews call them too.

Results hold every property that the SDK reads without a default.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/.
"""

from typing import Any, Final

from runner_platform_sandbox.providers.aws import eks
from runner_platform_sandbox.providers.aws.conversion import tag_map, timestamp
from runner_platform_sandbox.providers.aws.ec2 import Ec2Handler
from runner_platform_sandbox.providers.aws.handler import Call
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError

_SUFFIXES: Final = {"aws-cn": "amazonaws.com.cn"}
_DEFAULT_SUFFIX: Final = "amazonaws.com"


def get_caller_identity(call: Call, _arguments: Properties) -> Properties:
    """Return the provider's identity."""
    identity = call.session.identity
    account = identity["Account"]
    return {"accountId": account, "arn": identity["Arn"], "id": account, "userId": identity["UserId"]}


def get_partition(call: Call, _arguments: Properties) -> Properties:
    """Return the partition of the provider's account."""
    partition = call.session.partition
    suffix = _SUFFIXES.get(partition, _DEFAULT_SUFFIX)
    reverse = ".".join(reversed(suffix.split(".")))
    return {"dnsSuffix": suffix, "id": partition, "partition": partition, "reverseDnsPrefix": reverse}


def get_region(call: Call, _arguments: Properties) -> Properties:
    """Return the provider's region."""
    suffix = _SUFFIXES.get(call.session.partition, _DEFAULT_SUFFIX)
    endpoint = f"ec2.{call.region}.{suffix}"
    return {
        "description": call.region,
        "endpoint": endpoint,
        "id": call.region,
        "name": call.region,
        "region": call.region,
    }


def get_availability_zones(call: Call, arguments: Properties) -> Properties:
    """Return the zones of a region, sorted by name."""
    zones = call.client("ec2").call(
        "describe_availability_zones",
        AllAvailabilityZones=arguments.get("allAvailabilityZones"),
        Filters=_filters(arguments) or None,
    )["AvailabilityZones"]
    names, ids = set(arguments.get("excludeNames") or []), set(arguments.get("excludeZoneIds") or [])
    state = arguments.get("state")
    chosen = sorted(
        (
            zone
            for zone in zones
            if zone["ZoneName"] not in names
            and zone.get("ZoneId") not in ids
            and (state is None or zone.get("State") == state)
        ),
        key=lambda zone: zone["ZoneName"],
    )
    return {
        **arguments,
        "groupNames": sorted({zone.get("GroupName") or call.region for zone in chosen}),
        "id": call.region,
        "names": [zone["ZoneName"] for zone in chosen],
        "region": call.region,
        "zoneIds": [zone.get("ZoneId", "") for zone in chosen],
    }


def get_vpc(call: Call, arguments: Properties) -> Properties:
    """Return one VPC, by id, tags, CIDR block or filters."""
    extra = {"cidr": arguments.get("cidrBlock"), "dhcp-options-id": arguments.get("dhcpOptionsId")}
    extra |= {"is-default": str(arguments["default"]).lower() if "default" in arguments else None}
    vpcs = call.client("ec2").pages(
        "describe_vpcs", "Vpcs", VpcIds=_ids(arguments), Filters=_filters(arguments, extra) or None
    )
    vpc = _only(vpcs, "VPC", arguments)
    identifier = vpc["VpcId"]
    main = [{"Name": "vpc-id", "Values": [identifier]}, {"Name": "association.main", "Values": ["true"]}]
    table = Ec2Handler.find(call, "describe_route_tables", "RouteTables", Filters=main) or {}
    associations = [
        {
            "associationId": item["AssociationId"],
            "cidrBlock": item["CidrBlock"],
            "state": (item.get("CidrBlockState") or {}).get("State", "associated"),
        }
        for item in vpc.get("CidrBlockAssociationSet", [])
    ]
    return {
        "arn": call.arn("ec2", f"vpc/{identifier}"),
        "cidrBlock": vpc["CidrBlock"],
        "cidrBlockAssociations": associations,
        "default": vpc.get("IsDefault", False),
        "dhcpOptionsId": vpc.get("DhcpOptionsId", ""),
        "enableDnsHostnames": _vpc_attribute(call, identifier, "EnableDnsHostnames"),
        "enableDnsSupport": _vpc_attribute(call, identifier, "EnableDnsSupport"),
        "enableNetworkAddressUsageMetrics": False,
        "filters": arguments.get("filters"),
        "id": identifier,
        "instanceTenancy": vpc.get("InstanceTenancy", "default"),
        "ipv6AssociationId": "",
        "ipv6CidrBlock": "",
        "ipv6CidrBlockAssociations": [],
        "mainRouteTableId": table.get("RouteTableId", ""),
        "ownerId": vpc.get("OwnerId", call.account),
        "region": call.region,
        "state": vpc.get("State", "available"),
        "tags": tag_map(vpc.get("Tags")),
    }


def get_subnets(call: Call, arguments: Properties) -> Properties:
    """Return the ids of all subnets that match filters and tags."""
    subnets = call.client("ec2").pages("describe_subnets", "Subnets", Filters=_filters(arguments) or None)
    return {
        "filters": arguments.get("filters"),
        "id": call.region,
        "ids": [subnet["SubnetId"] for subnet in subnets],
        "region": call.region,
        "tags": arguments.get("tags") or {},
    }


def get_subnet(call: Call, arguments: Properties) -> Properties:
    """Return one subnet, by id, tags, zone, CIDR block or filters."""
    names = {"vpc-id": "vpcId", "availability-zone": "availabilityZone", "cidr-block": "cidrBlock", "state": "state"}
    names |= {"availability-zone-id": "availabilityZoneId"}
    extra = {name: arguments.get(argument) for name, argument in names.items()}
    subnets = call.client("ec2").pages(
        "describe_subnets", "Subnets", SubnetIds=_ids(arguments), Filters=_filters(arguments, extra) or None
    )
    subnet = _only(subnets, "subnet", arguments)
    identifier = subnet["SubnetId"]
    launch = subnet.get("PrivateDnsNameOptionsOnLaunch", {})
    return {
        "arn": subnet.get("SubnetArn") or call.arn("ec2", f"subnet/{identifier}"),
        "assignIpv6AddressOnCreation": subnet.get("AssignIpv6AddressOnCreation", False),
        "availabilityZone": subnet["AvailabilityZone"],
        "availabilityZoneId": subnet.get("AvailabilityZoneId", ""),
        "availableIpAddressCount": subnet.get("AvailableIpAddressCount", 0),
        "cidrBlock": subnet["CidrBlock"],
        "customerOwnedIpv4Pool": "",
        "defaultForAz": subnet.get("DefaultForAz", False),
        "enableDns64": subnet.get("EnableDns64", False),
        "enableLniAtDeviceIndex": 0,
        "enableResourceNameDnsARecordOnLaunch": launch.get("EnableResourceNameDnsARecord", False),
        "enableResourceNameDnsAaaaRecordOnLaunch": launch.get("EnableResourceNameDnsAAAARecord", False),
        "filters": arguments.get("filters"),
        "id": identifier,
        "ipv6CidrBlock": "",
        "ipv6CidrBlockAssociationId": "",
        "ipv6Native": False,
        "mapCustomerOwnedIpOnLaunch": False,
        "mapPublicIpOnLaunch": subnet.get("MapPublicIpOnLaunch", False),
        "outpostArn": "",
        "ownerId": subnet.get("OwnerId", call.account),
        "privateDnsHostnameTypeOnLaunch": launch.get("HostnameType", "ip-name"),
        "region": call.region,
        "state": subnet.get("State", "available"),
        "tags": tag_map(subnet.get("Tags")),
        "vpcId": subnet["VpcId"],
    }


def get_cluster(call: Call, arguments: Properties) -> Properties:
    """Return one EKS cluster by name."""
    record = eks.describe(call, arguments["name"])
    if record is None:
        raise ProviderError(
            f"there is no EKS cluster {arguments['name']} in {call.region} of {call.session.describe()}"
        )
    cluster = eks.outputs_of(record, {})
    lists = {
        "accessConfigs": "accessConfig",
        "certificateAuthorities": "certificateAuthority",
        "computeConfigs": "computeConfig",
        "controlPlaneScalingConfigs": "controlPlaneScalingConfig",
        "kubernetesNetworkConfigs": "kubernetesNetworkConfig",
        "storageConfigs": "storageConfig",
        "upgradePolicies": "upgradePolicy",
        "zonalShiftConfigs": "zonalShiftConfig",
    }
    copied = ("arn", "createdAt", "enabledClusterLogTypes", "endpoint", "identities", "name", "platformVersion")
    return {
        **{plural: [cluster[name]] if cluster.get(name) else [] for plural, name in lists.items()},
        **{name: cluster[name] for name in (*copied, "roleArn", "status", "tags", "version", "vpcConfig")},
        "clusterId": "",
        "deletionProtection": bool(cluster.get("deletionProtection")),
        "id": cluster["name"],
        "outpostConfigs": [],
        "region": call.region,
        "remoteNetworkConfigs": [],
    }


def get_cluster_versions(call: Call, arguments: Properties) -> Properties:
    """Return the Kubernetes versions of EKS."""
    offered = call.client("eks").pages(
        "describe_cluster_versions",
        "clusterVersions",
        clusterType=arguments.get("clusterType"),
        clusterVersions=arguments.get("clusterVersionsOnlies"),
        defaultOnly=arguments.get("defaultOnly"),
        includeAll=arguments.get("includeAll"),
        versionStatus=arguments.get("versionStatus"),
    )
    dates = ("endOfExtendedSupportDate", "endOfStandardSupportDate", "releaseDate")
    versions = [
        {
            **{name: timestamp(item[name]) if item.get(name) else "" for name in dates},
            "clusterType": item.get("clusterType", "eks"),
            "clusterVersion": item["clusterVersion"],
            "defaultPlatformVersion": item.get("defaultPlatformVersion", ""),
            "defaultVersion": item.get("defaultVersion", False),
            "kubernetesPatchVersion": item.get("kubernetesPatchVersion", ""),
            "versionStatus": item.get("versionStatus", ""),
        }
        for item in offered
    ]
    return {**arguments, "clusterVersions": versions, "region": call.region}


def _filters(arguments: Properties, extra: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    filters = [{"Name": item["name"], "Values": item["values"]} for item in arguments.get("filters") or []]
    filters += [{"Name": f"tag:{key}", "Values": [value]} for key, value in (arguments.get("tags") or {}).items()]
    return filters + [{"Name": name, "Values": [value]} for name, value in (extra or {}).items() if value]


def _ids(arguments: Properties) -> list[str] | None:
    return [arguments["id"]] if arguments.get("id") else None


def _only(items: list[Any], kind: str, arguments: Properties) -> dict[str, Any]:
    if len(items) == 1:
        return dict(items[0])
    problem = "none" if not items else f"{len(items)} instead of one"
    raise ProviderError(f"looked for a {kind} with {arguments} and found {problem}")


def _vpc_attribute(call: Call, identifier: str, attribute: str) -> bool:
    query = attribute[0].lower() + attribute[1:]
    answer = call.client("ec2").call("describe_vpc_attribute", VpcId=identifier, Attribute=query)
    return bool(answer.get(attribute, {}).get("Value", False))
