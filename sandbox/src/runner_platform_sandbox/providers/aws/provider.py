"""The aws stand-in: its configuration, and the tables of resource types and functions.

Owns what `aws.Provider` means: which account, which region, which tags. To add a type, write a class in the file of its
service and add it to `_TYPES`. Leaves out what all types share (`crud`).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from typing_extensions import override

from runner_platform_sandbox.providers import validation, wire
from runner_platform_sandbox.providers.aws import (
    autoscaling,
    cloudwatch,
    crud,
    ec2,
    ec2_gateways,
    ec2_launch_template,
    ec2_security_groups,
    ecr,
    ecs,
    eks,
    eks_access,
    functions,
    iam,
    kms,
    s3,
    ssm,
)
from runner_platform_sandbox.providers.aws.handler import Call, Handler
from runner_platform_sandbox.providers.aws.session import Session
from runner_platform_sandbox.providers.schema import UnknownTokenError, decode_config
from runner_platform_sandbox.providers.stand_in import (
    ENGINE_KEYS,
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    Properties,
    ProviderError,
    StandIn,
    Target,
)
from runner_platform_sandbox.providers.validation import Failure

_TYPES: Final[tuple[type[Handler], ...]] = (
    autoscaling.Group,
    autoscaling.LifecycleHook,
    cloudwatch.MetricAlarm,
    ec2_gateways.VpcEndpoint,
    ec2_gateways.Eip,
    ec2_gateways.FlowLog,
    ec2_gateways.NatGateway,
    ec2_launch_template.LaunchTemplate,
    ec2.InternetGateway,
    ec2.Subnet,
    ec2.Vpc,
    ec2.Route,
    ec2.RouteTable,
    ec2.RouteTableAssociation,
    ec2_security_groups.DefaultSecurityGroup,
    ec2_security_groups.SecurityGroup,
    ec2_security_groups.SecurityGroupEgressRule,
    ec2_security_groups.SecurityGroupIngressRule,
    ecr.LifecyclePolicy,
    ecr.Repository,
    ecr.RepositoryPolicy,
    ecs.Cluster,
    ecs.ClusterCapacityProviders,
    ecs.TaskDefinition,
    eks.Cluster,
    eks_access.AccessEntry,
    eks_access.AccessPolicyAssociation,
    eks.Addon,
    iam.InstanceProfile,
    iam.Policy,
    iam.Role,
    iam.RolePolicy,
    iam.RolePolicyAttachment,
    iam.OpenIdConnectProvider,
    kms.Alias,
    kms.Key,
    cloudwatch.LogGroup,
    cloudwatch.LogMetricFilter,
    s3.Bucket,
    s3.BucketLifecycleConfiguration,
    s3.BucketOwnershipControls,
    s3.BucketPolicy,
    s3.BucketPublicAccessBlock,
    s3.BucketServerSideEncryptionConfiguration,
    s3.BucketVersioning,
    ssm.Parameter,
)

HANDLERS: Final[dict[str, Handler]] = {kind.token: kind() for kind in _TYPES}
"""Resource types."""

FUNCTIONS: Final[dict[str, Callable[[Call, dict[str, Any]], Properties]]] = {
    "aws:ec2/getSubnet:getSubnet": functions.get_subnet,
    "aws:ec2/getSubnets:getSubnets": functions.get_subnets,
    "aws:ec2/getVpc:getVpc": functions.get_vpc,
    "aws:eks/getCluster:getCluster": functions.get_cluster,
    "aws:eks/getClusterVersions:getClusterVersions": functions.get_cluster_versions,
    "aws:index/getAvailabilityZones:getAvailabilityZones": functions.get_availability_zones,
    "aws:index/getCallerIdentity:getCallerIdentity": functions.get_caller_identity,
    "aws:index/getPartition:getPartition": functions.get_partition,
    "aws:index/getRegion:getRegion": functions.get_region,
}
"""Data sources."""


_MODELLED: Final = frozenset(
    {"profile", "region", "allowedAccountIds", "forbiddenAccountIds", "defaultTags", "accessKey", "secretKey", "token"}
)
# Settings for checks and endpoints that the sandbox does not have; ignoring them changes nothing.
_HARMLESS: Final = frozenset(
    {
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "userAgents",
        "maxRetries",
        "retryMode",
    }
)


class AwsStandIn(StandIn):
    """Stands in for pulumi-resource-aws."""

    name = "aws"

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._default_tags: dict[str, str] = {}

    @override
    def check_config(self, news: Properties) -> Properties:
        decoded = decode_config(wire.reveal(super().check_config(news)), self.sdk.provider())
        failures = [
            Failure(
                name, "is a provider property that the sandbox's aws stand-in does not model; use a profile instead"
            )
            for name in sorted(decoded.keys() - _MODELLED - _HARMLESS - ENGINE_KEYS)
        ]
        if failures:
            raise InvalidInputsError(failures)
        return news

    @override
    def configure(self, config: Properties) -> None:
        if wire.has_unknown(config):
            return  # a preview without a known account; resources still preview, functions raise an error
        session = Session(config)
        account = session.account
        allowed, forbidden = config.get("allowedAccountIds") or [], config.get("forbiddenAccountIds") or []
        if (allowed and account not in allowed) or account in forbidden:
            rule = f"allowed: {', '.join(allowed)}" if allowed else f"forbidden: {', '.join(forbidden)}"
            source = f"profile {session.profile}" if session.profile else "the credentials of the environment"
            raise ProviderError(
                f"{source} leads to account {account} as {session.identity['Arn']}, but the provider's account ids are "
                f"{rule}. Correct the account id in the configuration or the role in the AWS profile"
            )
        self._session = session
        self._default_tags = dict((config.get("defaultTags") or {}).get("tags") or {})

    @override
    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        region = self._session.region if self._session else wire.UNKNOWN
        account = {"region": region, "tags": self._default_tags}
        return crud.check(_handler(target.token), target, news, olds, naming, account)

    @override
    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        del old_inputs
        return crud.diff(_handler(target.token), olds, news, ignored)

    @override
    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        handler = _handler(target.token)
        if target.preview:
            return "", crud.preview_create(handler, inputs)
        return crud.create(handler, self._call(target, inputs), inputs)

    @override
    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        identifier, _, region = target.id.partition("@")  # `id@region` imports from another region than the provider's
        previous = outputs or inputs
        call = self._call(target, {"region": region or previous.get("region")})
        return crud.read(_handler(target.token), call, identifier, inputs, previous)

    @override
    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        handler = _handler(target.token)
        if target.preview:
            return crud.preview_update(handler, olds, old_inputs, news)
        return crud.update(handler, self._call(target, news), olds, news)

    @override
    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        _handler(target.token).delete(self._call(target, outputs), target.id, {**inputs, **outputs})

    @override
    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        function = FUNCTIONS.get(token)
        if function is None:
            raise ProviderError(_not_modelled("function", token, FUNCTIONS))
        try:
            checked, failures = validation.validate(self.sdk.function(token), arguments)
        except UnknownTokenError as error:
            raise ProviderError(str(error)) from error
        if failures:
            raise InvalidInputsError(failures)
        target = Target(urn="", token=token, name=token)
        return function(self._call(target, checked), checked)

    def _call(self, target: Target, inputs: Mapping[str, Any]) -> Call:
        if self._session is None:
            raise ProviderError(
                f"{target.token} needs the account of its provider; the provider's configuration is known only after the deployment"
            )
        region = inputs.get("region") or self._session.region
        return Call(session=self._session, stand_in=self, target=target, region=region)


def _handler(token: str) -> Handler:
    handler = HANDLERS.get(token)
    if handler is None:
        raise ProviderError(_not_modelled("type", token, HANDLERS))
    return handler


def _not_modelled(kind: str, token: str, modelled: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(name.removeprefix("aws:").rpartition(":")[0] for name in modelled))
    return f"the sandbox's aws stand-in does not model {kind} {token}; it knows {names}"
