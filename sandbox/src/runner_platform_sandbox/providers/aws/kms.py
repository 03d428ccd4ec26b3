"""KMS keys and their aliases.

Owns both types. Leaves out custom key stores. Source: https://www.pulumi.com/registry/packages/aws/api-docs/kms/.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.compare import same_last_part
from runner_platform_sandbox.providers.aws.conversion import tag_changes, tag_list, tag_map
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler
from runner_platform_sandbox.providers.stand_in import Properties
from runner_platform_sandbox.providers.validation import Failure

_GONE = {"NotFoundException"}
_YEAR = 365


class Key(Handler):
    """A key. A delete starts AWS's waiting period, which cannot be skipped."""

    token = "aws:kms/key:Key"  # noqa: S105 - a type token
    immutable = frozenset({"customKeyStoreId", "customerMasterKeySpec", "keyUsage", "multiRegion", "xksKeyId"})
    defaults: ClassVar[Mapping[str, Any]] = {
        "bypassPolicyLockoutSafetyCheck": False,
        "customerMasterKeySpec": "SYMMETRIC_DEFAULT",
        "enableKeyRotation": False,
        "isEnabled": True,
        "keyUsage": "ENCRYPT_DECRYPT",
    }
    computed = frozenset({"description", "multiRegion", "policy", "rotationPeriodInDays"})
    documents = frozenset({"policy"})
    kept = frozenset({"bypassPolicyLockoutSafetyCheck", "deletionWindowInDays"})
    modelled = frozenset({*defaults, *computed, "deletionWindowInDays"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        days = inputs.get("deletionWindowInDays")
        if isinstance(days, int) and not 7 <= days <= 30:  # noqa: PLR2004 - the API's bounds
            return [Failure("deletionWindowInDays", f"must be from 7 to 30, got {days}")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        answer = call.retry(
            lambda: call.client("kms").call(
                "create_key",
                Description=inputs.get("description"),
                KeySpec=inputs["customerMasterKeySpec"],
                KeyUsage=inputs["keyUsage"],
                MultiRegion=inputs.get("multiRegion"),
                Policy=inputs.get("policy"),
                BypassPolicyLockoutSafetyCheck=inputs["bypassPolicyLockoutSafetyCheck"],
                Tags=tag_list(inputs.get("tags"), "TagKey", "TagValue"),
            ),
            {"MalformedPolicyDocumentException"},
        )
        return str(answer["KeyMetadata"]["KeyId"])

    @override
    def settle(self, call: Call, identifier: str, inputs: Properties) -> None:
        kms = call.client("kms")
        enabled = kms.call("describe_key", KeyId=identifier)["KeyMetadata"]["Enabled"]
        if inputs["isEnabled"] and not enabled:
            kms.call("enable_key", KeyId=identifier)
        status = self._rotation(call, identifier) or {}
        period = inputs.get("rotationPeriodInDays")
        wrong_period = period is not None and period != status.get("RotationPeriodInDays")
        if inputs["enableKeyRotation"] and (not status.get("KeyRotationEnabled") or wrong_period):
            kms.call("enable_key_rotation", KeyId=identifier, RotationPeriodInDays=period)
        elif not inputs["enableKeyRotation"] and status.get("KeyRotationEnabled"):
            kms.call("disable_key_rotation", KeyId=identifier)
        if not inputs["isEnabled"] and enabled:
            kms.call("disable_key", KeyId=identifier)

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        kms = call.client("kms")
        answer = kms.find("describe_key", _GONE, KeyId=identifier)
        if answer is None or answer["KeyMetadata"]["KeyState"] in {"PendingDeletion", "PendingReplicaDeletion"}:
            return None
        key = answer["KeyMetadata"]
        rotation = self._rotation(call, identifier) or {}
        rotates = bool(rotation.get("KeyRotationEnabled"))
        return {
            "arn": key["Arn"],
            "customerMasterKeySpec": key.get("KeySpec") or key.get("CustomerMasterKeySpec"),
            "description": key.get("Description"),
            "enableKeyRotation": rotates,
            "isEnabled": key["Enabled"],
            "keyId": key["KeyId"],
            "keyUsage": key["KeyUsage"],
            "multiRegion": key.get("MultiRegion", False),
            "policy": kms.call("get_key_policy", KeyId=identifier, PolicyName="default")["Policy"],
            "rotationPeriodInDays": rotation.get("RotationPeriodInDays", _YEAR) if rotates else None,
            "tags": tag_map(kms.call("list_resource_tags", KeyId=identifier).get("Tags"), "TagKey", "TagValue"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        kms = call.client("kms")
        if "description" in changed:
            kms.call("update_key_description", KeyId=identifier, Description=news.get("description", ""))
        if "policy" in changed and news.get("policy"):
            kms.call("put_key_policy", KeyId=identifier, PolicyName="default", Policy=news["policy"])
        if "tags" in changed:
            present = tag_map(kms.call("list_resource_tags", KeyId=identifier).get("Tags"), "TagKey", "TagValue")
            put, remove = tag_changes(present, news.get("tags"))
            if remove:
                kms.call("untag_resource", KeyId=identifier, TagKeys=remove)
            if put:
                kms.call("tag_resource", KeyId=identifier, Tags=tag_list(put, "TagKey", "TagValue"))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        days = outputs.get("deletionWindowInDays")
        call.client("kms").find(
            "schedule_key_deletion",
            {*_GONE, "KMSInvalidStateException"},  # it is scheduled for deletion already
            KeyId=identifier,
            PendingWindowInDays=days,
        )

    @staticmethod
    def _rotation(call: Call, identifier: str) -> Properties | None:
        unsupported = {*_GONE, "UnsupportedOperationException"}  # asymmetric keys do not rotate
        status: Properties | None = call.client("kms").find("get_key_rotation_status", unsupported, KeyId=identifier)
        return status


class Alias(Handler):
    """A name for a key. Its id is the name including `alias/`."""

    token = "aws:kms/alias:Alias"  # noqa: S105 - a type token
    naming = AutoName(prefix="alias/", longest=256)
    immutable = frozenset({"name", "namePrefix"})
    kept = frozenset({"namePrefix"})
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {"targetKeyId": same_last_part}  # accepts an ARN too

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        name = inputs.get("name")
        if isinstance(name, str) and not name.startswith("alias/"):
            return [Failure("name", f"must start with alias/, got {name}")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name = self.name_of(inputs)
        call.retry(
            lambda: call.client("kms").call("create_alias", AliasName=name, TargetKeyId=inputs["targetKeyId"]), _GONE
        )
        return name

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        aliases = call.client("kms").pages("list_aliases", "Aliases")
        alias = next(
            (alias for alias in aliases if alias["AliasName"] == identifier and alias.get("TargetKeyId")), None
        )
        if alias is None:
            return None
        key = alias["TargetKeyId"]
        return {
            "arn": alias["AliasArn"],
            "name": identifier,
            "targetKeyId": key,
            "targetKeyArn": call.arn("kms", f"key/{key}"),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        call.client("kms").call("update_alias", AliasName=identifier, TargetKeyId=news["targetKeyId"])

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("kms").find("delete_alias", _GONE, AliasName=identifier)
