"""SSM: parameters.

Leaves out `valueWo`, which never reaches a state. AWS stores a `SecureString` encrypted and returns it in the clear to
callers who may use its key. Source: https://www.pulumi.com/registry/packages/aws/api-docs/ssm/parameter/.
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_changes, tag_list, tag_map
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler, one_of
from runner_platform_sandbox.providers.stand_in import Properties
from runner_platform_sandbox.providers.validation import Failure

_GONE: Final = {"ParameterNotFound"}
_SECURE: Final = "SecureString"


class Parameter(Handler):
    """A parameter. Its id is its name; each change of value or description makes another version."""

    token = "aws:ssm/parameter:Parameter"  # noqa: S105 - a type token
    naming = AutoName(longest=255)
    immutable = frozenset({"dataType", "name"})
    computed = frozenset({"arn", "dataType", "insecureValue", "keyId", "tier", "value"})
    equal: ClassVar[Mapping[str, Callable[[Any, Any], bool]]] = {
        "tier": lambda new, old: new in {old, "Intelligent-Tiering"}  # AWS answers with the tier that it chose
    }
    kept = frozenset({"overwrite"})
    modelled = frozenset(
        {"allowedPattern", "dataType", "description", "insecureValue", "keyId", "name", "overwrite", "tier", "type"}
        | {"value"}
    )

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        if inputs.get("type") == _SECURE and inputs.get("insecureValue") is not None:
            return [Failure("insecureValue", f"would be readable in the state; a {_SECURE} takes value")]
        return one_of(inputs, "value", "insecureValue")

    @override
    def recomputed(self, news: Properties, changed: set[str]) -> frozenset[str]:
        return frozenset({"version"}) if changed & {"description", "insecureValue", "value"} else frozenset()

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        name, overwrite = str(inputs["name"]), bool(inputs.get("overwrite"))
        self._put(call, name, inputs, overwrite=overwrite, tags=None if overwrite else tag_list(inputs.get("tags")))
        if overwrite:  # AWS takes tags only with a new parameter
            self._tag(call, name, inputs)
        return name

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        ssm = call.client("ssm")
        answer = ssm.find("get_parameter", _GONE, Name=identifier, WithDecryption=True)
        if answer is None:
            return None
        parameter = answer["Parameter"]
        named = [{"Key": "Name", "Option": "Equals", "Values": [identifier]}]
        details: Properties = next(iter(ssm.pages("describe_parameters", "Parameters", ParameterFilters=named)), {})
        tags = ssm.call("list_tags_for_resource", ResourceType="Parameter", ResourceId=identifier)["TagList"]
        readable = parameter["Type"] != _SECURE and previous.get("insecureValue") is not None
        return {
            "allowedPattern": details.get("AllowedPattern"),
            "arn": parameter["ARN"],
            "dataType": parameter.get("DataType"),
            "description": details.get("Description"),
            "insecureValue" if readable else "value": parameter["Value"],
            "keyId": details.get("KeyId"),
            "name": parameter["Name"],
            "tags": tag_map(tags),
            "tier": details.get("Tier"),
            "type": parameter["Type"],
            "version": parameter["Version"],
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if changed - {"overwrite", "tags"}:
            self._put(call, identifier, news, overwrite=news.get("overwrite", True))
        if "tags" in changed:
            self._tag(call, identifier, news)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("ssm").find("delete_parameter", _GONE, Name=identifier)

    @staticmethod
    def _put(call: Call, name: str, inputs: Properties, *, overwrite: bool, tags: Any = None) -> None:
        call.client("ssm").call(
            "put_parameter",
            Name=name,
            Type=inputs["type"],
            Value=inputs.get("insecureValue") or inputs.get("value"),
            AllowedPattern=inputs.get("allowedPattern", ""),
            DataType=inputs.get("dataType"),
            Description=inputs.get("description", ""),
            KeyId=inputs.get("keyId") if inputs["type"] == _SECURE else None,
            Overwrite=overwrite,
            Tags=tags,
            Tier=inputs.get("tier"),
        )

    @staticmethod
    def _tag(call: Call, name: str, inputs: Properties) -> None:
        ssm, parameter = call.client("ssm"), {"ResourceType": "Parameter", "ResourceId": name}
        present = tag_map(ssm.call("list_tags_for_resource", **parameter)["TagList"])
        put, remove = tag_changes(present, inputs.get("tags"))
        if remove:
            ssm.call("remove_tags_from_resource", **parameter, TagKeys=remove)
        if put:
            ssm.call("add_tags_to_resource", **parameter, Tags=tag_list(put))
