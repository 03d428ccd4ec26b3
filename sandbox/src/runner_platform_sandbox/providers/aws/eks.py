"""EKS clusters and add-ons.

Leaves out access (`eks_access`); of clusters: Outposts, hybrid nodes (`remoteNetworkConfig`), the component tuning of
`kube…Config` and the deprecated `defaultAddonsToRemoves`; of add-ons: `namespaceConfig` and `podIdentityAssociations`,
which AWS returns in another form than it takes. The sandbox's AWS server records an add-on and installs nothing.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/eks/cluster/ and addon/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import own_tags, timestamp
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler, update_tags
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

GONE: Final = {"ResourceNotFoundException"}
_SECONDS: Final = 300.0
_AUTO_MODE: Final = ("computeConfig", "kubernetesNetworkConfig", "storageConfig")
# AWS accepts only one kind of change in a call.
_SINGLE: Final = ("upgradePolicy", "zonalShiftConfig", "deletionProtection", "controlPlaneScalingConfig")


_ADDON_SECONDS: Final = 1200.0
_SETTINGS: Final = ("addonVersion", "configurationValues", "serviceAccountRoleArn")
_CONFLICTS: Final = {"create_addon": "resolveConflictsOnCreate", "update_addon": "resolveConflictsOnUpdate"}


class Cluster(Handler):
    """A cluster. Its id is its name. Create, update and delete wait until AWS is done."""

    token = "aws:eks/cluster:Cluster"  # noqa: S105 - a type token
    naming = AutoName(longest=100)
    immutable = frozenset(
        {
            "accessConfig.bootstrapClusterCreatorAdminPermissions",
            "bootstrapSelfManagedAddons",
            "encryptionConfig",
            "kubernetesNetworkConfig.ipFamily",
            "kubernetesNetworkConfig.serviceIpv4Cidr",
            "name",
            "roleArn",
        }
    )
    defaults: ClassVar[Mapping[str, Any]] = {"bootstrapSelfManagedAddons": True}
    nested_defaults: ClassVar[Mapping[str, Any]] = {
        "accessConfig.bootstrapClusterCreatorAdminPermissions": True,
        "upgradePolicy.supportType": "EXTENDED",
        "vpcConfig.endpointPublicAccess": True,
    }
    computed = frozenset(
        {
            "accessConfig",
            "accessConfig.authenticationMode",
            "controlPlaneScalingConfig",
            "kubernetesNetworkConfig",
            "kubernetesNetworkConfig.elasticLoadBalancing",
            "kubernetesNetworkConfig.ipFamily",
            "kubernetesNetworkConfig.serviceIpv4Cidr",
            "kubernetesNetworkConfig.serviceIpv6Cidr",
            "upgradePolicy",
            "version",
            "vpcConfig.clusterSecurityGroupId",
            "vpcConfig.controlPlaneEgressMode",
            "vpcConfig.publicAccessCidrs",
            "vpcConfig.vpcId",
        }
    )
    sets = frozenset(
        {
            "computeConfig.nodePools",
            "enabledClusterLogTypes",
            "encryptionConfig.resources",
            "vpcConfig.publicAccessCidrs",
            "vpcConfig.securityGroupIds",
            "vpcConfig.subnetIds",
        }
    )
    kept = frozenset({"bootstrapSelfManagedAddons", "forceUpdateVersion"})
    modelled = frozenset(
        {"roleArn", "vpcConfig", "accessConfig", "bootstrapSelfManagedAddons", "enabledClusterLogTypes", "version"}
        | {"encryptionConfig", "forceUpdateVersion", "name", *_AUTO_MODE, *_SINGLE}
    )

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        switches = {
            path: _at(inputs, path)
            for path in (
                "computeConfig.enabled",
                "kubernetesNetworkConfig.elasticLoadBalancing.enabled",
                "storageConfig.blockStorage.enabled",
            )
        }
        enabled = {bool(value) for value in switches.values() if value is None or isinstance(value, bool)}
        if len(enabled) > 1:
            return [Failure("computeConfig", f"must agree with the other switches of Auto Mode: {', '.join(switches)}")]
        if True in enabled and inputs.get("bootstrapSelfManagedAddons") is True:
            return [Failure("bootstrapSelfManagedAddons", "must be false with Auto Mode (computeConfig.enabled)")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        optional = {name: inputs.get(name) for name in ("accessConfig", *_AUTO_MODE, *_SINGLE)}
        encryption = inputs.get("encryptionConfig")
        answer = call.retry(
            lambda: call.client("eks").call(
                "create_cluster",
                name=self.name_of(inputs),
                version=inputs.get("version"),
                roleArn=inputs["roleArn"],
                resourcesVpcConfig=_vpc_request(inputs["vpcConfig"]),
                bootstrapSelfManagedAddons=inputs["bootstrapSelfManagedAddons"],
                encryptionConfig=[encryption] if encryption else None,
                logging=_logging(inputs.get("enabledClusterLogTypes"), []),
                tags=inputs.get("tags") or None,
                **optional,
            ),
            {"InvalidParameterException"},  # AWS may not know a role that was created a second ago
            seconds=5,
        )
        return str(answer["cluster"]["name"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            status = (describe(call, identifier) or {}).get("status")
            if status == "FAILED":
                raise ProviderError(
                    f"EKS cluster {identifier} has the status FAILED; look at it in EKS, or destroy it with `pulumi destroy --target`"
                )
            return status == "ACTIVE"

        call.wait_until(ready, f"EKS cluster {identifier} to become active", _SECONDS)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        cluster = describe(call, identifier)
        if cluster is None or cluster.get("status") == "DELETING":
            return None
        return {**outputs_of(cluster, previous), "tags": _tags(call, cluster["arn"])}

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self.settle(call, identifier, news)
        for request in _requests(call, identifier, news, changed):
            self._change(call, identifier, "update_cluster_config", request)
        if "version" in changed and news.get("version"):
            force = news.get("forceUpdateVersion")
            self._change(call, identifier, "update_cluster_version", {"version": news["version"], "force": force})
        if "tags" in changed:
            cluster = describe(call, identifier) or {}
            update_tags(call.client("eks"), cluster["arn"], news.get("tags"))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        try:
            call.retry(
                lambda: call.client("eks").find("delete_cluster", GONE, name=identifier), {"ResourceInUseException"}, 60
            )
        except AwsError as error:
            if not outputs.get("deletionProtection"):
                raise
            remedy = "set deletion_protection to False, run `up`, and destroy again"
            raise ProviderError(f"{error}. Cluster {identifier} is protected against deletion; {remedy}") from error
        call.wait_until(lambda: describe(call, identifier) is None, f"EKS cluster {identifier} to be deleted", _SECONDS)

    def _change(self, call: Call, identifier: str, operation: str, request: dict[str, Any]) -> None:
        eks = call.client("eks")
        answer = call.retry(lambda: eks.call(operation, name=identifier, **request), {"ResourceInUseException"}, 60)
        update = (answer.get("update") or {}).get("id")

        def done() -> bool:
            update_record = (eks.find("describe_update", GONE, name=identifier, updateId=update) or {}).get(
                "update"
            ) or {}
            state = update_record.get("status", "Successful")
            if state in {"Failed", "Cancelled"}:
                reasons = "; ".join(item.get("errorMessage", "") for item in update_record.get("errors", []))
                raise ProviderError(f"EKS refused to change cluster {identifier}: {reasons or state}")
            return bool(state == "Successful")

        if update:
            call.wait_until(done, f"the change of EKS cluster {identifier}", _SECONDS)
        self.settle(call, identifier, {})


def describe(call: Call, name: str) -> Properties | None:
    """Return EKS's record of a cluster, or None."""
    answer = call.client("eks").find("describe_cluster", GONE, name=name)
    return None if answer is None else dict(answer["cluster"])


def outputs_of(cluster: Properties, previous: Properties) -> Properties:
    """Return a cluster's record in the SDK's form. Settings that the server leaves out come from `previous`."""
    logging = (cluster.get("logging") or {}).get("clusterLogging", [])
    enabled = [name for item in logging if item.get("enabled") for name in item.get("types", [])]
    encryption = cluster.get("encryptionConfig") or []
    settings = {
        name: cluster[name] if cluster.get(name) is not None else previous.get(name)
        for name in ("accessConfig", *_AUTO_MODE, *_SINGLE)
    }
    access = settings["accessConfig"]
    if access:  # AWS returns the mode only
        creator_is_admin = (previous.get("accessConfig") or {}).get("bootstrapClusterCreatorAdminPermissions")
        settings["accessConfig"] = {"bootstrapClusterCreatorAdminPermissions": creator_is_admin, **access}
    return {
        **settings,
        "arn": cluster["arn"],
        "certificateAuthority": {"data": (cluster.get("certificateAuthority") or {}).get("data", "")},
        "createdAt": timestamp(cluster["createdAt"]),
        "enabledClusterLogTypes": enabled,
        "encryptionConfig": encryption[0] if encryption else None,
        "endpoint": cluster.get("endpoint", ""),
        "identities": [{"oidcs": [{"issuer": ((cluster.get("identity") or {}).get("oidc") or {}).get("issuer", "")}]}],
        "name": cluster["name"],
        "platformVersion": cluster.get("platformVersion", ""),
        "roleArn": cluster["roleArn"],
        "status": cluster["status"],
        "tags": own_tags(cluster.get("tags")),
        "version": cluster["version"],
        "vpcConfig": cluster["resourcesVpcConfig"],
    }


def _tags(call: Call, arn: str) -> dict[str, str]:
    return own_tags(call.client("eks").call("list_tags_for_resource", resourceArn=arn).get("tags"))


def _at(inputs: Properties, path: str) -> Any:
    """Return the value at a dotted path, None if it is missing, or `UNKNOWN` if it is not known yet."""
    value: Any = inputs
    for step in path.split("."):
        if not isinstance(value, dict):
            return value
        value = value.get(step)
    return value


def _vpc_request(config: Properties) -> Properties:
    return {key: value for key, value in config.items() if key not in {"vpcId", "clusterSecurityGroupId"}}


def _logging(requested: list[str] | None, present: list[str]) -> dict[str, Any] | None:
    """Return the request that enables exactly the `requested` logs."""
    off = sorted(set(present) - set(requested or []))
    groups = [{"types": requested, "enabled": True}] if requested else []
    groups += [{"types": off, "enabled": False}] if off else []
    return {"clusterLogging": groups} if groups else None


def _requests(call: Call, identifier: str, news: Properties, changed: set[str]) -> list[dict[str, Any]]:
    """Return the changes of configuration as requests, each for one kind of change."""
    requests: list[dict[str, Any]] = [{name: news[name]} for name in _SINGLE if name in changed and name in news]
    if "vpcConfig" in changed:
        requests.append({"resourcesVpcConfig": _vpc_request(news["vpcConfig"])})
    if "enabledClusterLogTypes" in changed:
        present = outputs_of(describe(call, identifier) or {}, {})["enabledClusterLogTypes"]
        logging = _logging(news.get("enabledClusterLogTypes"), present)
        requests += [{"logging": logging}] if logging else []
    if "accessConfig" in changed and news.get("accessConfig"):
        requests.append({"accessConfig": {"authenticationMode": news["accessConfig"].get("authenticationMode")}})
    if changed & set(_AUTO_MODE):  # AWS accepts changes of these three only together
        together = {name: news[name] for name in _AUTO_MODE if news.get(name)}
        if "kubernetesNetworkConfig" in together:
            balancing = together["kubernetesNetworkConfig"].get("elasticLoadBalancing")
            together["kubernetesNetworkConfig"] = {"elasticLoadBalancing": balancing}
        requests.append(together)
    return requests


class Addon(Handler):
    """An add-on of a cluster. Its id is `<cluster>:<add-on>`."""

    token = "aws:eks/addon:Addon"  # noqa: S105 - a type token
    immutable = frozenset({"addonName", "clusterName"})
    computed = frozenset({"addonVersion"})
    documents = frozenset({"configurationValues"})
    kept = frozenset({"preserve", *_CONFLICTS.values()})
    modelled = frozenset({"addonName", "clusterName", "preserve", *_SETTINGS, *_CONFLICTS.values()})
    delete_before_replace = True

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        cluster, name = inputs["clusterName"], inputs["addonName"]
        try:
            # EKS may not know a role that was created a second ago.
            call.retry(
                lambda: _send(call, "create_addon", inputs, tags=inputs.get("tags") or None),
                {"InvalidParameterException"},
            )
        except AwsError as error:
            if error.code != "ResourceInUseException":
                raise
            raise ProviderError(
                f"{error}. {cluster} has the add-on {name} already; import it as {cluster}:{name}, or delete it"
            ) from error
        return f"{cluster}:{name}"

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            addon = _describe_addon(call, identifier) or {}
            state = str(addon.get("status", ""))
            if state.endswith("_FAILED"):
                issues = (addon.get("health") or {}).get("issues", [])
                reasons = "; ".join(f"{item.get('code')}: {item.get('message')}" for item in issues)
                raise ProviderError(f"EKS add-on {identifier}: {state}: {reasons or 'no reason given'}")
            return state == "ACTIVE"

        call.wait_until(ready, f"EKS add-on {identifier} to become active", _ADDON_SECONDS)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        addon = _describe_addon(call, identifier)
        if addon is None or addon.get("status") == "DELETING":
            return None
        tags = call.client("eks").call("list_tags_for_resource", resourceArn=addon["addonArn"]).get("tags")
        return {
            **{name: addon.get(name) or None for name in _SETTINGS},
            "addonName": addon["addonName"],
            "arn": addon["addonArn"],
            "clusterName": addon["clusterName"],
            "createdAt": timestamp(addon["createdAt"]),
            "modifiedAt": timestamp(addon["modifiedAt"]),
            "tags": own_tags(tags),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        eks = call.client("eks")
        if changed & set(_SETTINGS):
            _send(call, "update_addon", news)
        if "tags" in changed:
            arn = (_describe_addon(call, identifier) or {})["addonArn"]
            update_tags(eks, arn, news.get("tags"))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        where = _where(identifier)
        call.client("eks").find("delete_addon", GONE, **where, preserve=outputs.get("preserve"))
        call.wait_until(
            lambda: _describe_addon(call, identifier) is None,
            f"EKS add-on {identifier} to be uninstalled",
            _ADDON_SECONDS,
        )


def _send(call: Call, operation: str, inputs: Properties, **more: object) -> None:
    settings = {name: inputs.get(name) for name in _SETTINGS}
    conflicts = inputs.get(_CONFLICTS[operation])
    where = {"clusterName": inputs["clusterName"], "addonName": inputs["addonName"]}
    call.client("eks").call(operation, **where, **settings, resolveConflicts=conflicts, **more)


def _describe_addon(call: Call, identifier: str) -> Properties | None:
    answer = call.client("eks").find("describe_addon", GONE, **_where(identifier))
    return None if answer is None else dict(answer["addon"])


def _where(identifier: str) -> dict[str, str]:
    cluster, separator, name = identifier.partition(":")
    if not separator:
        raise ProviderError(f"{identifier} is not the id of an add-on; an id looks like <cluster>:<add-on>")
    return {"clusterName": cluster, "addonName": name}
