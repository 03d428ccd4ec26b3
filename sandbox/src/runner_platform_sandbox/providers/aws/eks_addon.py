"""EKS add-ons: AWS's own software in a cluster.

The sandbox's AWS server knows that an add-on is installed and installs nothing: the cluster stays as it was. Leaves out
`namespaceConfig` and `podIdentityAssociations`, which AWS answers in another form than it takes.
Source: https://www.pulumi.com/registry/packages/aws/api-docs/eks/addon/.
"""

from typing import Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.eks import GONE
from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.aws.shapes import timestamp
from runner_platform_sandbox.providers.aws.tags import changes, own
from runner_platform_sandbox.providers.base import Properties, ProviderError

_SECONDS: Final = 1200.0
_SETTINGS: Final = ("addonVersion", "configurationValues", "serviceAccountRoleArn")
_CONFLICTS: Final = {"create_addon": "resolveConflictsOnCreate", "update_addon": "resolveConflictsOnUpdate"}


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
            # A role that was made a second ago is not known to EKS yet.
            call.retry(
                lambda: _send(call, "create_addon", inputs, tags=inputs.get("tags") or None),
                {"InvalidParameterException"},
            )
        except AwsError as error:
            if error.code != "ResourceInUseException":
                raise
            raise ProviderError(
                f"{error}. {cluster} has {name}; import it as {cluster}:{name}, or delete it"
            ) from error
        return f"{cluster}:{name}"

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        def ready() -> bool:
            found = _describe(call, identifier) or {}
            state = str(found.get("status", ""))
            if state.endswith("_FAILED"):
                issues = (found.get("health") or {}).get("issues", [])
                reasons = "; ".join(f"{item.get('code')}: {item.get('message')}" for item in issues)
                raise ProviderError(f"EKS add-on {identifier}: {state}: {reasons or 'no reason given'}")
            return state == "ACTIVE"

        call.wait_until(ready, f"EKS add-on {identifier} to become active", _SECONDS)

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        found = _describe(call, identifier)
        if found is None or found.get("status") == "DELETING":
            return None
        tags = call.client("eks").call("list_tags_for_resource", resourceArn=found["addonArn"]).get("tags")
        return {
            **{name: found.get(name) or None for name in _SETTINGS},
            "addonName": found["addonName"],
            "arn": found["addonArn"],
            "clusterName": found["clusterName"],
            "createdAt": timestamp(found["createdAt"]),
            "modifiedAt": timestamp(found["modifiedAt"]),
            "tags": own(tags),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        eks = call.client("eks")
        if changed & set(_SETTINGS):
            _send(call, "update_addon", news)
        if "tags" in changed:
            arn = (_describe(call, identifier) or {})["addonArn"]
            put, remove = changes(
                own(eks.call("list_tags_for_resource", resourceArn=arn).get("tags")), news.get("tags")
            )
            if remove:
                eks.call("untag_resource", resourceArn=arn, tagKeys=remove)
            if put:
                eks.call("tag_resource", resourceArn=arn, tags=put)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        where = _where(identifier)
        call.client("eks").find("delete_addon", GONE, **where, preserve=outputs.get("preserve"))
        call.wait_until(
            lambda: _describe(call, identifier) is None, f"EKS add-on {identifier} to be uninstalled", _SECONDS
        )


def _send(call: Call, operation: str, inputs: Properties, **more: object) -> None:
    settings = {name: inputs.get(name) for name in _SETTINGS}
    conflicts = inputs.get(_CONFLICTS[operation])
    where = {"clusterName": inputs["clusterName"], "addonName": inputs["addonName"]}
    call.client("eks").call(operation, **where, **settings, resolveConflicts=conflicts, **more)


def _describe(call: Call, identifier: str) -> Properties | None:
    answer = call.client("eks").find("describe_addon", GONE, **_where(identifier))
    return None if answer is None else dict(answer["addon"])


def _where(identifier: str) -> dict[str, str]:
    cluster, separator, name = identifier.partition(":")
    if not separator:
        raise ProviderError(f"{identifier} is no id of an add-on; it looks like <cluster>:<add-on>")
    return {"clusterName": cluster, "addonName": name}
