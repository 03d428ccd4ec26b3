"""The table of resource types that the pack knows: the rules that judge a type, or why it gives nobody access, and its properties.

A type or a property outside of this table is a finding (rule H05): a rule that never looked at it cannot say that it is harmless. Add a
type here together with the rule that judges it, or with the reason why none has to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from access.resource import UNKNOWN
from policies import type_tokens as tokens

if TYPE_CHECKING:
    from collections.abc import Iterator

COMPONENTS = "runnerplatform:index:"
"""The program's own components: they hold resources, which are judged one by one."""
CODE = (
    *("command:", "local:", "null:", "docker:", "docker-build:", "terraform:", "pulumi-terraform:"),
    *("pulumi-python:", "pulumi-nodejs:", "pulumi-go:", "pulumi-dotnet:", "pulumi-java:", "pulumi-yaml:"),
    *("kubernetes:yaml", "kubernetes:kustomize", "kubernetes:helm.sh/v2:", "kubernetes:helm.sh/v4:"),
    *("kubernetes:helm.sh/v3:Chart", "kubernetes:yaml/v2:", "pulumi:providers:pulumi-"),
)
"""Beginnings of types that run code, or apply what they fetch, while the program is deployed."""
ENGINE_KEYS = frozenset({"__defaults", "__internal"})
"""Keys that the engine's plugins add to inputs."""
EVERY = "*"


class Stranger(NamedTuple):
    """A property that nobody judges."""

    path: str
    undecidable: bool
    """Whether the pack knows the property, and its value is unknown."""


@dataclass(frozen=True, kw_only=True)
class JudgedType:
    """What the pack knows about a type."""

    by: str
    """Ids of the rules that judge it; or `harmless: ` and the reason."""
    paths: frozenset[str]
    """Properties that may appear, as dotted paths with all that is below them; `*` for all."""
    fixed: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """Properties that may appear with these values only: another value would need a rule."""

    def strangers(self, inputs: Mapping[str, Any]) -> Iterator[Stranger]:
        """Yield every property that nobody judges, or that has a value that nobody judges."""
        if EVERY not in self.paths:
            yield from self._strangers(inputs, "")

    def _strangers(self, values: Mapping[str, Any], parent: str) -> Iterator[Stranger]:
        for key, value in values.items():
            path = f"{parent}{key}"
            if path in self.paths or key in ENGINE_KEYS or value is None or value in ("", [], {}):
                continue
            has_table = path in self.fixed or self._lists_below(path)
            if path in self.fixed and any(_same(value, allowed) for allowed in self.fixed[path]):
                continue
            if isinstance(value, Mapping) and self._lists_below(path):
                yield from self._strangers(value, f"{path}.")
            else:
                yield Stranger(path, has_table and value is UNKNOWN)

    def _lists_below(self, path: str) -> bool:
        return any(listed.startswith(f"{path}.") for listed in (*self.paths, *self.fixed))


def _same(value: Any, allowed: Any) -> bool:
    """Whether two values are equal; the engine's plugins write numbers and booleans as text, too."""
    return str(value).lower() == str(allowed).lower()


def runs_code(token: str) -> bool:
    """Whether a type runs code while the program is deployed."""
    return token.startswith(CODE)


def _type(by: str, paths: str, fixed: Mapping[str, tuple[Any, ...]] | None = None) -> JudgedType:
    return JudgedType(by=by, paths=frozenset(paths.split()), fixed=fixed or {})


def _aws(by: str, paths: str, fixed: Mapping[str, tuple[Any, ...]] | None = None) -> JudgedType:
    return _type(by, f"{paths} tags tagsAll", fixed)


LIVE_METADATA = "creationTimestamp generation managedFields resourceVersion uid finalizers"
"""Metadata that the API server adds to a deployed object."""


def _kubernetes(by: str, paths: str, fixed: Mapping[str, tuple[Any, ...]] | None = None) -> JudgedType:
    metadata = " ".join(f"metadata.{key}" for key in f"name namespace labels annotations {LIVE_METADATA}".split())
    return _type(by, f"apiVersion kind {metadata} {paths}", fixed)


NO = (False,)
PATHS = "harmless: moves packets within the VPC; who may connect is decided by H03 and E08"
IAM = {
    tokens.ROLE: _aws(
        "T01 T02 T03 T04 T05 T07 T09 T10 P04 P12",
        "assumeRolePolicy description inlinePolicies managedPolicyArns maxSessionDuration name path permissionsBoundary",
        {"forceDetachPolicies": NO},
    ),
    tokens.ROLE_POLICY: _aws("P01 P02 P03 P05 P06 P10 P11 T10 T11 T12", "name policy role"),
    tokens.POLICY: _aws("P01 P02 P03 P05 P06 P10 P11 T11", "description name path policy"),
    tokens.ATTACHMENT: _aws("P12 T10", "policyArn role"),
    tokens.POLICY_ATTACHMENT: _aws("P12 T10", "groups name policyArn roles users"),
    tokens.EXCLUSIVE_ATTACHMENTS: _aws("P12 T10", "policyArns roleName"),
    tokens.EXCLUSIVE_POLICIES: _aws("P12", "policyNames roleName"),
    tokens.OIDC_PROVIDER: _aws("T06", "clientIdLists url thumbprintLists"),
    **dict.fromkeys(tokens.USERS, _aws("P08", EVERY)),
}
EKS = {
    tokens.CLUSTER: _aws(
        "E01 E02 E03 E04",
        "accessConfig enabledClusterLogTypes encryptionConfig kubernetesNetworkConfig name roleArn storageConfig upgradePolicy"
        " version vpcConfig deletionProtection computeConfig.enabled bootstrapSelfManagedAddons",
        {"computeConfig.nodePools": ()},
    ),
    tokens.ACCESS_ENTRY: _aws("E04", "clusterName kubernetesGroups principalArn type"),
    tokens.ACCESS_POLICY: _aws("E04", "accessScope clusterName policyArn principalArn"),
    tokens.NODE_GROUP: _aws("E05", EVERY),
    tokens.POD_IDENTITY: _aws("T08", EVERY),
    tokens.ADDON: _aws(
        "H05",
        "addonVersion clusterName configurationValues serviceAccountRoleArn resolveConflictsOnCreate resolveConflictsOnUpdate",
        {"addonName": ("amazon-cloudwatch-observability",)},
    ),
}
STORES = {
    tokens.REPOSITORY: _aws(
        "C01", "name forceDelete imageScanningConfiguration imageTagMutability encryptionConfigurations"
    ),
    tokens.REPOSITORY_POLICY: _aws("C02 I01", "policy repository"),
    tokens.REGISTRY_POLICY: _aws("C02", "policy"),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": _aws("harmless: deletes old images", "policy repository"),
    tokens.BUCKET: _aws("S01", "bucket forceDestroy policy"),
    tokens.BUCKET_POLICY: _aws("S01", "bucket policy"),
    tokens.PUBLIC_ACCESS_BLOCK: _aws(
        "S01", "bucket blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets", {"skipDestroy": NO}
    ),
    tokens.ACCOUNT_ACCESS_BLOCK: _aws(
        "S01", "accountId blockPublicAcls blockPublicPolicy ignorePublicAcls restrictPublicBuckets"
    ),
    tokens.BUCKET_OWNERSHIP: _aws("S01", "bucket rule"),
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": _aws(
        "harmless: encrypts", "bucket rules"
    ),
    "aws:s3/bucketVersioning:BucketVersioning": _aws(
        "H05",
        "bucket",
        {"versioningConfiguration.status": ("Enabled",), "versioningConfiguration.mfaDelete": ("Disabled",)},
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _aws(
        "harmless: deletes old objects", "bucket rules transitionDefaultMinimumObjectSize"
    ),
    tokens.KEY_POLICY: _aws("K01", "keyId policy", {"bypassPolicyLockoutSafetyCheck": NO}),
    tokens.KEY_GRANT: _aws("K01", EVERY),
    "aws:sns/topicPolicy:TopicPolicy": _aws("Q01", "arn policy"),
    "aws:sqs/queuePolicy:QueuePolicy": _aws("Q01", "policy queueUrl"),
    "aws:secretsmanager/secretPolicy:SecretPolicy": _aws("Q01", "policy secretArn", {"blockPublicPolicy": (True,)}),
    tokens.KEY: _aws(
        "K01",
        "deletionWindowInDays description enableKeyRotation policy rotationPeriodInDays",
        {
            "isEnabled": (True,),
            "bypassPolicyLockoutSafetyCheck": NO,
            "keyUsage": ("ENCRYPT_DECRYPT",),
            "customerMasterKeySpec": ("SYMMETRIC_DEFAULT",),
            "multiRegion": NO,
        },
    ),
    "aws:kms/alias:Alias": _aws("harmless: a name; permissions are on the key", "name targetKeyId"),
}
NETWORK = {
    "aws:ec2/vpc:Vpc": _aws(PATHS, "cidrBlock enableDnsHostnames enableDnsSupport", {"instanceTenancy": ("default",)}),
    "aws:ec2/subnet:Subnet": _aws(
        PATHS,
        "availabilityZone cidrBlock vpcId",
        dict.fromkeys(
            (
                *("assignIpv6AddressOnCreation", "enableDns64", "ipv6Native", "mapPublicIpOnLaunch"),
                *("enableResourceNameDnsAaaaRecordOnLaunch", "enableResourceNameDnsARecordOnLaunch"),
            ),
            NO,
        ),
    ),
    "aws:ec2/internetGateway:InternetGateway": _aws(PATHS, "vpcId"),
    "aws:ec2/natGateway:NatGateway": _aws(PATHS, "allocationId subnetId", {"connectivityType": ("public",)}),
    "aws:ec2/eip:Eip": _aws(PATHS, "", {"domain": ("vpc",)}),
    "aws:ec2/routeTable:RouteTable": _aws(PATHS, "vpcId"),
    "aws:ec2/route:Route": _aws(PATHS, "destinationCidrBlock gatewayId natGatewayId routeTableId"),
    "aws:ec2/routeTableAssociation:RouteTableAssociation": _aws(PATHS, "routeTableId subnetId"),
    "aws:ec2/vpcEndpoint:VpcEndpoint": _aws(
        PATHS, "routeTableIds serviceName vpcId", {"vpcEndpointType": ("Gateway",)}
    ),
    "aws:ec2/flowLog:FlowLog": _aws(
        "harmless: writes a log; T03 judges its role",
        "iamRoleArn logDestination trafficType vpcId maxAggregationInterval",
        {"logDestinationType": ("cloud-watch-logs",)},
    ),
    tokens.DEFAULT_SECURITY_GROUP: _aws("H03", "vpcId ingress egress", {"revokeRulesOnDelete": NO}),
    tokens.SECURITY_GROUP: _aws("H03", "name description vpcId ingress egress", {"revokeRulesOnDelete": NO}),
    tokens.SECURITY_GROUP_RULE: _aws("H03", EVERY),
    tokens.INGRESS_RULE: _aws("H03 M09", EVERY),
    tokens.EGRESS_RULE: _aws("M09", EVERY),
}
MACHINES = {
    tokens.LAUNCH_TEMPLATE: _aws(
        "M01 M02 M03 M04 M05 M07 M09 M10 T13",
        "name description userData imageId instanceType keyName iamInstanceProfile networkInterfaces metadataOptions blockDeviceMappings"
        " tagSpecifications updateDefaultVersion",
        {"instanceInitiatedShutdownBehavior": ("terminate",)},
    ),
    tokens.MACHINE_GROUP: _aws(
        "M06",
        "name minSize maxSize desiredCapacity healthCheckGracePeriod defaultInstanceWarmup initialLifecycleHooks instanceRefresh"
        " vpcZoneIdentifiers launchTemplate mixedInstancesPolicy protectFromScaleIn suspendedProcesses capacityRebalance"
        " waitForCapacityTimeout",
        {
            "healthCheckType": ("EC2",),
            "metricsGranularity": ("1Minute",),
            **dict.fromkeys(("forceDelete", "forceDeleteWarmPool", "ignoreFailedScalingActivities"), NO),
        },
    ),
    tokens.INSTANCE_PROFILE: _aws("M07", "name path role"),
    tokens.TASK_CLUSTER: _aws("M11", "name"),
    tokens.TASK_DEFINITION: _aws(
        "M11",
        "family cpu memory ephemeralStorage runtimePlatform containerDefinitions taskRoleArn executionRoleArn",
        {
            "requiresCompatibilities": (["FARGATE"],),
            "networkMode": ("awsvpc",),
            "skipDestroy": NO,
            "trackLatest": NO,
            "enableFaultInjection": NO,
        },
    ),
    tokens.PARAMETER: _aws("M08", "name type value description", {"dataType": ("text",), "tier": ("Standard",)}),
}
LOGS = {
    "aws:cloudwatch/logGroup:LogGroup": _aws(
        "harmless: holds logs",
        "name retentionInDays kmsKeyId logGroupClass deletionProtectionEnabled",
        {"skipDestroy": NO},
    ),
    "aws:cloudwatch/logMetricFilter:LogMetricFilter": _aws(
        "harmless: counts lines of a log", "name logGroupName pattern metricTransformation applyOnTransformedLogs"
    ),
    "aws:cloudwatch/metricAlarm:MetricAlarm": _aws(
        "harmless: a topic is told of a number; who reads the topic is decided by its own policy",
        "name alarmDescription namespace metricName statistic dimensions comparisonOperator threshold period evaluationPeriods"
        " treatMissingData alarmActions okActions actionsEnabled datapointsToAlarm unit",
    ),
}
KUBERNETES = {
    tokens.NAMESPACE: _kubernetes("E07 E08", "spec.finalizers"),
    tokens.SERVICE_ACCOUNT: _kubernetes("T08", "automountServiceAccountToken"),
    tokens.CONFIG_MAP: _kubernetes("E08 T13 E11", "data binaryData immutable"),
    tokens.SECRET: _kubernetes("E11", "data stringData immutable", {"type": ("Opaque",)}),
    tokens.NETWORK_POLICY: _kubernetes("E08", "spec"),
    "kubernetes:core/v1:ResourceQuota": _kubernetes("harmless: limits what runs", "spec"),
    "kubernetes:policy/v1:PodDisruptionBudget": _kubernetes("harmless: delays evictions", "spec"),
    **dict.fromkeys(tokens.KUBERNETES_ROLES, _kubernetes("E09", "rules")),
    **dict.fromkeys(tokens.BINDINGS, _kubernetes("E09 R06", "roleRef subjects")),
    tokens.ADMISSION_POLICY: _kubernetes("E10", "spec"),
    tokens.ADMISSION_BINDING: _kubernetes("E10", "spec"),
    tokens.NODE_CLASS: _kubernetes(
        "E06 E08",
        "spec.role spec.subnetSelectorTerms spec.securityGroupSelectorTerms spec.networkPolicy spec.networkPolicyEventLogs"
        " spec.advancedNetworking.associatePublicIPAddress spec.ephemeralStorage spec.tags",
        {"spec.snatPolicy": ("Random",)},
    ),
    tokens.NODE_POOL: _kubernetes(
        "E06",
        "spec.limits spec.disruption spec.weight spec.template.metadata.labels spec.template.spec.nodeClassRef"
        " spec.template.spec.taints spec.template.spec.requirements spec.template.spec.expireAfter"
        " spec.template.spec.terminationGracePeriod",
    ),
    tokens.RELEASE: _type("R10 R01 R02 R03 R04 R05 R06 R07 R09 S02", EVERY),
}
OTHERS = {
    tokens.RUNNER: _type(
        "R08",
        "accessLevel description groupId locked maintenanceNote maximumTimeout paused projectId runnerType tagLists untagged",
    ),
    tokens.AWS_PROVIDER: _type("H01", EVERY),
    tokens.KUBERNETES_PROVIDER: _type("H07", EVERY),
    tokens.GITLAB_PROVIDER: _type("H07", EVERY),
}
JUDGED: Mapping[str, JudgedType] = {**IAM, **EKS, **STORES, **NETWORK, **MACHINES, **LOGS, **KUBERNETES, **OTHERS}
"""Every known type."""
