"""Access to EKS clusters: access entries and their policy associations.

Source: https://www.pulumi.com/registry/packages/aws/api-docs/eks/accessentry/ and accesspolicyassociation/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import own_tags, timestamp
from runner_platform_sandbox.providers.aws.eks import GONE
from runner_platform_sandbox.providers.aws.handler import Call, Handler, update_tags
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_NOT_YET = {"InvalidParameterException", "ResourceInUseException"}


class AccessEntry(Handler):
    """An IAM principal with access to a cluster. Its id is `<cluster>:<principal ARN>`."""

    token = "aws:eks/accessEntry:AccessEntry"  # noqa: S105 - a type token
    immutable = frozenset({"clusterName", "principalArn", "type"})
    defaults: ClassVar[Mapping[str, Any]] = {"type": "STANDARD"}
    computed = frozenset({"kubernetesGroups", "userName"})
    sets = frozenset({"kubernetesGroups"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        kind = inputs.get("type")
        if kind != "STANDARD" and inputs.get("kubernetesGroups"):
            return [Failure("kubernetesGroups", f"cannot be given for an entry of type {kind}")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        cluster, principal = inputs["clusterName"], inputs["principalArn"]
        try:
            call.retry(
                lambda: call.client("eks").call(
                    "create_access_entry",
                    clusterName=cluster,
                    principalArn=principal,
                    kubernetesGroups=inputs.get("kubernetesGroups"),
                    type=inputs["type"],
                    username=inputs.get("userName"),
                    tags=inputs.get("tags") or None,
                ),
                {"InvalidParameterException"},  # EKS may not know a role that was created a second ago
            )
        except AwsError as error:
            if error.code != "ResourceInUseException":
                raise
            raise ProviderError(
                f"{error}. {principal} has an entry in {cluster} already; import it or delete it"
            ) from error
        return f"{cluster}:{principal}"

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        cluster, _, principal = identifier.partition(":")
        answer = call.client("eks").find("describe_access_entry", GONE, clusterName=cluster, principalArn=principal)
        if answer is None:
            return None
        entry = answer["accessEntry"]
        tags = call.client("eks").call("list_tags_for_resource", resourceArn=entry["accessEntryArn"]).get("tags")
        return {
            "accessEntryArn": entry["accessEntryArn"],
            "clusterName": cluster,
            "createdAt": timestamp(entry["createdAt"]),
            "kubernetesGroups": entry.get("kubernetesGroups", []),
            "modifiedAt": timestamp(entry["modifiedAt"]),
            "principalArn": principal,
            "tags": own_tags(tags),
            "type": entry.get("type", "STANDARD"),
            "userName": entry.get("username"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        eks = call.client("eks")
        where = {"clusterName": news["clusterName"], "principalArn": news["principalArn"]}
        if changed & {"kubernetesGroups", "userName"}:
            groups = news.get("kubernetesGroups") or []
            eks.call("update_access_entry", **where, kubernetesGroups=groups, username=news.get("userName"))
        if "tags" in changed:
            entry = eks.call("describe_access_entry", **where)["accessEntry"]
            update_tags(eks, entry["accessEntryArn"], news.get("tags"))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        cluster, _, principal = identifier.partition(":")
        call.client("eks").find("delete_access_entry", GONE, clusterName=cluster, principalArn=principal)


class AccessPolicyAssociation(Handler):
    """An access policy of an entry. Its id is `<cluster>#<principal ARN>#<policy ARN>`; every change replaces it."""

    token = "aws:eks/accessPolicyAssociation:AccessPolicyAssociation"  # noqa: S105 - a type token
    immutable = frozenset({"accessScope", "clusterName", "policyArn", "principalArn"})
    sets = frozenset({"accessScope.namespaces"})
    delete_before_replace = True

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        call.retry(
            lambda: call.client("eks").call(
                "associate_access_policy",
                clusterName=inputs["clusterName"],
                principalArn=inputs["principalArn"],
                policyArn=inputs["policyArn"],
                accessScope=inputs["accessScope"],
            ),
            {*GONE, *_NOT_YET},  # EKS may not know an entry that was created a second ago
        )
        return "#".join(inputs[name] for name in ("clusterName", "principalArn", "policyArn"))

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        cluster, principal, policy = _parts(identifier)
        try:
            associated = call.client("eks").pages(
                "list_associated_access_policies",
                "associatedAccessPolicies",
                clusterName=cluster,
                principalArn=principal,
            )
        except AwsError as error:
            if error.code in GONE:
                return None
            raise
        association = next((item for item in associated if item["policyArn"] == policy), None)
        if association is None:
            return None
        return {
            "accessScope": association["accessScope"],
            "associatedAt": timestamp(association["associatedAt"]),
            "clusterName": cluster,
            "modifiedAt": timestamp(association["modifiedAt"]),
            "policyArn": policy,
            "principalArn": principal,
        }

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        cluster, principal, policy = _parts(identifier)
        call.client("eks").find(
            "disassociate_access_policy", GONE, clusterName=cluster, principalArn=principal, policyArn=policy
        )


def _parts(identifier: str) -> tuple[str, str, str]:
    parts = identifier.split("#")
    if len(parts) != 3:  # noqa: PLR2004 - the three parts of the id
        raise ProviderError(
            f"{identifier} is not the id of an association; an id looks like <cluster>#<principal ARN>#<policy ARN>"
        )
    return parts[0], parts[1], parts[2]
