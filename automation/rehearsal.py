"""Running a program under mocks: no engine, no cloud, no credentials.

A recording monitor stands where the engine would: it notes every registration with its options, and answers with outputs that the
programs use, all known, so that every document can be read and judged. A type or call that it was not told about is an error.
Leans on `MockMonitor` of `pulumi.runtime.mocks`, which the SDK's own tests use; kept in this one file, so that a change breaks one place.
"""

from __future__ import annotations

import asyncio
import json
import runpy
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pulumi
from pulumi.output import contains_unknowns
from pulumi.runtime import config as runtime_config
from pulumi.runtime import mocks, rpc
from pulumi.runtime import settings as runtime_settings
from pulumi.runtime.stack import run_pulumi_func

from config import foundation, load
from config import settings as platform

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

ISSUER = "https://oidc.eks.eu-central-1.amazonaws.com/id/0000000000000000000000000000"
"""The issuer that every rehearsal's cluster has."""
EXISTING_CIDR = "10.0.0.0/16"
"""The network of a VPC that is not the platform's own."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One resource as the program registers it."""

    urn: str
    type: str
    name: str
    parent: str
    """URN of the parent; empty for the stack's own."""
    provider: str
    """Reference to the provider, `<urn>::<id>`; empty for components."""
    custom: bool
    protect: bool
    retain_on_delete: bool
    depends_on: tuple[str, ...]
    """URNs, sorted."""
    delete_timeout: str
    aliases: tuple[str, ...]
    inputs: Mapping[str, Any]
    """Wire names; secrets are `[secret]`."""


@dataclass
class Rehearsal:
    """What a program registered and exported."""

    registrations: list[Registration] = field(default_factory=list)
    exports: dict[str, Any] = field(default_factory=dict)

    def of_type(self, token: str) -> list[Registration]:
        """Registrations of a type, in order."""
        return [each for each in self.registrations if each.type == token]

    def one(self, token: str, name: str) -> Registration:
        """The registration of a type and logical name.

        Raises:
            LookupError: there is none, or more than one.
        """
        found = [each for each in self.of_type(token) if each.name == name]
        if len(found) != 1:
            known = ", ".join(each.name for each in self.of_type(token))
            raise LookupError(f"{len(found)} registrations of {token} named {name!r}; there are: {known}")
        return found[0]


OUTPUTS: dict[str, dict[str, str]] = {
    "aws:kms/key:Key": {"arn": "arn:aws:kms:eu-central-1:000000000000:key/{name}", "keyId": "{name}"},
    "aws:s3/bucket:Bucket": {"arn": "arn:aws:s3:::{bucket}"},
    "aws:iam/policy:Policy": {"arn": "arn:aws:iam::000000000000:policy{path}{name}"},
    "aws:iam/role:Role": {"arn": "arn:aws:iam::000000000000:role{path}{name}"},
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": {"arn": "arn:aws:iam::000000000000:oidc-provider/{name}"},
    "aws:cloudwatch/logGroup:LogGroup": {"arn": "arn:aws:logs:eu-central-1:000000000000:log-group:{name}"},
    "aws:ecr/repository:Repository": {"repositoryUrl": "000000000000.dkr.ecr.eu-central-1.amazonaws.com/{name}"},
    "gitlab:index/userRunner:UserRunner": {"token": "glrt-rehearsal"},
}
"""Outputs that the programs use beyond their inputs, as templates over the inputs."""
PLAIN = frozenset(
    {
        *("aws:kms/alias:Alias", "aws:iam/rolePolicy:RolePolicy", "aws:iam/rolePolicyAttachment:RolePolicyAttachment"),
        *(
            "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock",
            "aws:s3/bucketOwnershipControls:BucketOwnershipControls",
        ),
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration",
        *("aws:s3/bucketPolicy:BucketPolicy", "aws:s3/bucketVersioning:BucketVersioning"),
        "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration",
        *("aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/internetGateway:InternetGateway", "aws:ec2/eip:Eip"),
        *(
            "aws:ec2/natGateway:NatGateway",
            "aws:ec2/routeTable:RouteTable",
            "aws:ec2/route:Route",
            "aws:ec2/flowLog:FlowLog",
        ),
        *("aws:ec2/routeTableAssociation:RouteTableAssociation", "aws:ec2/vpcEndpoint:VpcEndpoint"),
        *(
            "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup",
            "aws:eks/cluster:Cluster",
            "aws:eks/accessEntry:AccessEntry",
        ),
        *("aws:eks/accessPolicyAssociation:AccessPolicyAssociation", "aws:ecr/repositoryPolicy:RepositoryPolicy"),
        *("aws:ecr/lifecyclePolicy:LifecyclePolicy", "aws:eks/addon:Addon"),
        *("aws:cloudwatch/metricAlarm:MetricAlarm", "aws:cloudwatch/logMetricFilter:LogMetricFilter"),
    }
)
"""Types whose outputs, as far as the programs use them, are their inputs."""


class Mocks(mocks.Mocks):
    """Answers of a cloud that always says yes."""

    def __init__(self, existing: Mapping[str, Any] | None = None) -> None:
        self.existing = existing or {}
        """`network.existing` of the configuration: its subnets are in its VPC, each in a zone of its own."""

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """Outputs of a resource: its inputs, and what `OUTPUTS` adds."""
        known = (
            args.typ in OUTPUTS
            or args.typ in PLAIN
            or args.typ.startswith(("kubernetes:", "pulumi:providers:", "runnerplatform:"))
        )
        if not known:
            raise ValueError(
                f"{args.typ} ({args.name}) is a type that the rehearsal was not told about; add it to automation/rehearsal.py"
            )
        outputs = {"name": args.name, "path": "/", "bucket": args.name, **args.inputs}
        state = {**args.inputs}
        state |= {key: template.format(**outputs) for key, template in OUTPUTS.get(args.typ, {}).items()}
        if args.typ.startswith("aws:"):
            state.setdefault("name", args.name)
        if args.typ == "aws:eks/cluster:Cluster":
            state |= self._cluster(args.inputs)
        return (f"{args.name}-id" if args.custom else None), state

    def _cluster(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "arn": f"arn:aws:eks:eu-central-1:000000000000:cluster/{inputs['name']}",
            "endpoint": "https://cluster.invalid",
            "certificateAuthority": {"data": "Y2VydGlmaWNhdGU="},
            "identities": [{"oidcs": [{"issuer": ISSUER}]}],
            "vpcConfig": {**inputs["vpcConfig"], "clusterSecurityGroupId": "sg-0000000000000000"},
        }

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]  # the SDK takes a plain answer too
        """Answers of the functions that the programs call."""
        function = args.token
        if function == "aws:index/getAvailabilityZones:getAvailabilityZones":
            return {"names": ["eu-central-1a", "eu-central-1b", "eu-central-1c"], "id": "eu-central-1"}
        if function == "aws:ec2/getVpc:getVpc":
            return {"id": args.args["id"], "cidrBlockAssociations": [{"cidrBlock": EXISTING_CIDR}]}
        if function == "aws:ec2/getSubnet:getSubnet":
            return {
                "id": args.args["id"],
                "vpcId": self.existing.get("vpc"),
                "mapPublicIpOnLaunch": False,
                "availabilityZone": f"eu-central-1{'abc'[list(self.existing['private']).index(args.args['id']) % 3]}",
            }
        raise ValueError(
            f"{function} is a function that the rehearsal was not told about; add it to automation/rehearsal.py"
        )


class Monitor(mocks.MockMonitor):
    """Notes every registration with its options."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.rehearsal = Rehearsal()

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802  # the protocol's name
        """Note the request, then let the SDK's own mock answer it."""
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]  # the SDK's mock is untyped
        if request.type != "pulumi:pulumi:Stack":
            self.rehearsal.registrations.append(_registration(request, response.urn))
        return response


def _registration(request: Any, urn: str) -> Registration:
    return Registration(
        urn=urn,
        type=request.type,
        name=request.name,
        parent="" if "pulumi:pulumi:Stack::" in request.parent else request.parent,
        provider=request.provider,
        custom=request.custom,
        protect=request.protect,
        retain_on_delete=request.retainOnDelete,
        depends_on=tuple(sorted(request.dependencies)),
        delete_timeout=request.customTimeouts.delete,
        aliases=tuple(alias.urn for alias in request.aliases),
        inputs=_shown(rpc.deserialize_properties(request.object, keep_unknowns=True)),
    )


def _shown(value: Any) -> Any:
    if rpc.is_rpc_secret(value):
        return "[secret]"
    if isinstance(value, dict):
        return {key: _shown(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shown(each) for each in value]
    if contains_unknowns(value):
        return "[unknown]"
    return int(value) if isinstance(value, float) and value.is_integer() else value


def rehearse(stack: str, configuration: Mapping[str, Any] | None = None) -> Rehearsal:
    """Run a stack's program under mocks.

    Args:
        stack: `foundation`, or a stack of the platform.
        configuration: values by key without the project's namespace, instead of the stack's file.

    Raises:
        SettingsError: the configuration cannot be used.
    """
    if stack == foundation.STACK:
        project, program, file = (
            foundation.PROJECT,
            load.ROOT / "foundation",
            load.ROOT / "foundation" / "Pulumi.foundation.yaml",
        )
    else:
        project, program, file = platform.PROJECT, load.ROOT, load.ROOT / f"Pulumi.{stack}.yaml"
    values = load.raw_of(file, project) if configuration is None else configuration
    return run(program / "__main__.py", project, stack, values)


def run(program: Path, project: str, stack: str, values: Mapping[str, Any]) -> Rehearsal:
    """Run a program file under mocks with this configuration."""
    with _event_loop() as loop:
        network = values.get("network")
        answers = Mocks(network.get("existing") if isinstance(network, dict) else None)
        monitor = Monitor(answers)
        runtime_settings.reset_options()
        texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
        runtime_config.set_all_config({f"{project}:{key}": text for key, text in texts.items()})
        mocks.set_mocks(answers, project=project, stack=stack, preview=False, monitor=monitor)
        loop.run_until_complete(run_pulumi_func(lambda: _execute(program)))
        monitor.rehearsal.exports = loop.run_until_complete(_exports())
    return monitor.rehearsal


@contextmanager
def _event_loop() -> Iterator[asyncio.AbstractEventLoop]:
    # The SDK makes a loop wherever there is none, in the threads that answer registrations too, and closes none of them.
    made: list[asyncio.AbstractEventLoop] = []

    def own_loop() -> None:
        made.append(asyncio.new_event_loop())
        asyncio.set_event_loop(made[-1])

    own_loop()
    threads = ThreadPoolExecutor(initializer=own_loop)
    made[0].set_default_executor(threads)
    try:
        yield made[0]
    finally:
        threads.shutdown()
        asyncio.set_event_loop(None)
        for loop in made:
            loop.close()


def _execute(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


async def _exports() -> dict[str, Any]:
    outputs = getattr(runtime_settings.get_root_resource(), "outputs", {})
    return {key: await pulumi.Output.from_input(value).future() for key, value in outputs.items()}
