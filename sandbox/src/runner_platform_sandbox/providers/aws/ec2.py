"""What all EC2 types have in common: tags in one call, ids that may be gone, deletions that wait for dependants.

Owns the base class. The types are in `ec2_network`, `ec2_routes`, `ec2_gateways`, `ec2_endpoints` and `ec2_security`.
"""

from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.aws.tags import as_list, as_map, changes
from runner_platform_sandbox.providers.base import Properties, ProviderError

DEPENDENT = {"DependencyViolation", "Client.InvalidParameterValue.Conflict", "IncorrectState"}
_DEPENDENTS_LEAVE_SECONDS = 120.0


class Ec2Handler(Handler):
    """A type whose id EC2 gives."""

    kind: ClassVar[str]
    """EC2's name of the type in tag specifications, such as `vpc`."""

    def tag_specifications(self, inputs: Properties) -> list[dict[str, Any]] | None:
        """Return the tags in the form that creating calls take."""
        pairs = as_list(inputs.get("tags"))
        return [{"ResourceType": self.kind, "Tags": pairs}] if pairs else None

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        if "tags" in changed:
            retag(call, identifier, news)

    @staticmethod
    def find(call: Call, operation: str, key: str, **arguments: Any) -> Properties | None:
        """Return the one item that a describing call finds, None if EC2 does not know the id (any more)."""
        try:
            items = call.client("ec2").call(operation, **arguments).get(key, [])
        except AwsError as error:
            if is_gone(error):
                return None
            raise
        return items[0] if items else None

    @staticmethod
    def remove(call: Call, operation: str, **arguments: Any) -> None:
        """Run a deleting call until nothing depends on the resource any more; one that is gone is no error."""

        def attempt() -> None:
            try:
                call.client("ec2").call(operation, **arguments)
            except AwsError as error:
                if not is_gone(error):
                    raise

        try:
            call.retry(attempt, DEPENDENT, call.target.timeout or _DEPENDENTS_LEAVE_SECONDS)
        except AwsError as error:
            if error.code not in DEPENDENT:
                raise
            reason = "something outside this program still uses it; remove that first"
            raise ProviderError(f"{error}. {next(iter(arguments.values()))} cannot be deleted: {reason}") from error


def is_gone(error: AwsError) -> bool:
    """Tell whether EC2 says that an id does not exist."""
    return error.code.endswith(("NotFound", ".NotFound")) or error.code == "InvalidNetworkInterfaceID.NotFound"


def retag(call: Call, identifier: str, news: Properties) -> None:
    """Bring the tags of a resource to those of `news`."""
    ec2 = call.client("ec2")
    found = ec2.pages("describe_tags", "Tags", Filters=[{"Name": "resource-id", "Values": [identifier]}])
    put, remove = changes(as_map(found), news.get("tags"))
    if remove:
        ec2.call("delete_tags", Resources=[identifier], Tags=[{"Key": key} for key in remove])
    if put:
        ec2.call("create_tags", Resources=[identifier], Tags=as_list(put))
