"""CloudWatch log groups.

Source: https://www.pulumi.com/registry/packages/aws/api-docs/cloudwatch/loggroup/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from sandbox.providers.aws.naming import AutoName
from sandbox.providers.aws.resource import Call, Handler
from sandbox.providers.aws.session import AwsError, Client
from sandbox.providers.aws.tags import changes, own
from sandbox.providers.base import Properties, ProviderError

_GONE = {"ResourceNotFoundException"}


class LogGroup(Handler):
    """A log group. Its id is its name."""

    token = "aws:cloudwatch/logGroup:LogGroup"  # noqa: S105 - a type token
    naming = AutoName(longest=512)
    immutable = frozenset({"name", "namePrefix", "logGroupClass"})
    defaults: ClassVar[Mapping[str, Any]] = {"retentionInDays": 0, "skipDestroy": False}
    computed = frozenset({"logGroupClass", "deletionProtectionEnabled"})
    kept = frozenset({"namePrefix", "skipDestroy"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        try:
            call.client("logs").call(
                "create_log_group",
                logGroupName=name,
                kmsKeyId=inputs.get("kmsKeyId"),
                logGroupClass=inputs.get("logGroupClass"),
                tags=inputs.get("tags") or None,
            )
        except AwsError as error:
            if error.code != "ResourceAlreadyExistsException":
                raise
            remedy = "a service may have made it by itself; delete or import it"
            raise ProviderError(f"{error}. Log group {name} exists; {remedy}") from error
        return name

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        logs = call.client("logs")
        group = _group(logs, identifier) or {}
        days = inputs["retentionInDays"]
        if days and days != group.get("retentionInDays"):
            logs.call("put_retention_policy", logGroupName=identifier, retentionInDays=days)
        elif not days and group.get("retentionInDays"):
            logs.call("delete_retention_policy", logGroupName=identifier)
        protected = inputs.get("deletionProtectionEnabled")
        if protected is not None and protected != group.get("deletionProtectionEnabled", False):
            logs.call(
                "put_log_group_deletion_protection", logGroupIdentifier=identifier, deletionProtectionEnabled=protected
            )

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        logs = call.client("logs")
        group = _group(logs, identifier)
        if group is None:
            return None
        arn = group.get("logGroupArn") or group["arn"].removesuffix(":*")
        return {
            "arn": arn,
            "deletionProtectionEnabled": group.get("deletionProtectionEnabled", False),
            "kmsKeyId": group.get("kmsKeyId"),
            "logGroupClass": group.get("logGroupClass", "STANDARD"),
            "name": identifier,
            "retentionInDays": group.get("retentionInDays", 0),
            "tags": own(logs.call("list_tags_for_resource", resourceArn=arn).get("tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        logs = call.client("logs")
        if "kmsKeyId" in changed and news.get("kmsKeyId"):
            logs.call("associate_kms_key", logGroupName=identifier, kmsKeyId=news["kmsKeyId"])
        elif "kmsKeyId" in changed:
            logs.call("disassociate_kms_key", logGroupName=identifier)
        if "tags" in changed:
            arn = call.arn("logs", f"log-group:{identifier}")
            present = own(logs.call("list_tags_for_resource", resourceArn=arn).get("tags"))
            put, remove = changes(present, news.get("tags"))
            if remove:
                logs.call("untag_resource", resourceArn=arn, tagKeys=remove)
            if put:
                logs.call("tag_resource", resourceArn=arn, tags=put)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        if not outputs.get("skipDestroy"):
            call.client("logs").find("delete_log_group", _GONE, logGroupName=identifier)


def _group(logs: Client, name: str) -> Properties | None:
    groups = logs.pages("describe_log_groups", "logGroups", logGroupNamePrefix=name)
    return next((group for group in groups if group["logGroupName"] == name), None)
