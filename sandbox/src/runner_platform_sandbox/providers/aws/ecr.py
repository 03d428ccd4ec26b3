"""ECR repositories, their policies and lifecycle policies.

Source: https://www.pulumi.com/registry/packages/aws/api-docs/ecr/.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from runner_platform_sandbox.providers.aws.conversion import tag_list, tag_map
from runner_platform_sandbox.providers.aws.handler import AutoName, Call, Handler, update_tags
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.stand_in import Properties, ProviderError

_GONE = {"RepositoryNotFoundException"}


class Repository(Handler):
    """A repository. Its id is its name."""

    token = "aws:ecr/repository:Repository"  # noqa: S105 - a type token
    naming = AutoName(longest=256, lower=True)
    immutable = frozenset({"name", "encryptionConfigurations"})
    defaults: ClassVar[Mapping[str, Any]] = {"imageTagMutability": "MUTABLE"}
    nested_defaults: ClassVar[Mapping[str, Any]] = {"encryptionConfigurations.encryptionType": "AES256"}
    computed = frozenset({"encryptionConfigurations", "encryptionConfigurations.kmsKey", "imageScanningConfiguration"})
    sets = frozenset({"imageTagMutabilityExclusionFilters"})
    kept = frozenset({"forceDelete"})

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        encryption = inputs.get("encryptionConfigurations")
        answer = call.client("ecr").call(
            "create_repository",
            repositoryName=self.name_of(inputs),
            imageTagMutability=inputs["imageTagMutability"],
            imageTagMutabilityExclusionFilters=inputs.get("imageTagMutabilityExclusionFilters"),
            imageScanningConfiguration=inputs.get("imageScanningConfiguration"),
            encryptionConfiguration=encryption[0] if encryption else None,
            tags=tag_list(inputs.get("tags")),
        )
        return str(answer["repository"]["repositoryName"])

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        ecr = call.client("ecr")
        answer = ecr.find("describe_repositories", _GONE, repositoryNames=[identifier])
        if answer is None:
            return None
        repository = answer["repositories"][0]
        filters = repository.get("imageTagMutabilityExclusionFilters")
        return {
            "arn": repository["repositoryArn"],
            "encryptionConfigurations": [repository.get("encryptionConfiguration") or {"encryptionType": "AES256"}],
            "imageScanningConfiguration": repository.get("imageScanningConfiguration") or {"scanOnPush": False},
            "imageTagMutability": repository.get("imageTagMutability", "MUTABLE"),
            "imageTagMutabilityExclusionFilters": filters or previous.get("imageTagMutabilityExclusionFilters"),
            "name": repository["repositoryName"],
            "registryId": repository["registryId"],
            "repositoryUrl": repository["repositoryUri"],
            "tags": tag_map(ecr.call("list_tags_for_resource", resourceArn=repository["repositoryArn"]).get("tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        ecr = call.client("ecr")
        if changed & {"imageTagMutability", "imageTagMutabilityExclusionFilters"}:
            ecr.call(
                "put_image_tag_mutability",
                repositoryName=identifier,
                imageTagMutability=news["imageTagMutability"],
                imageTagMutabilityExclusionFilters=news.get("imageTagMutabilityExclusionFilters"),
            )
        if "imageScanningConfiguration" in changed:
            scanning = news.get("imageScanningConfiguration") or {"scanOnPush": False}
            ecr.call("put_image_scanning_configuration", repositoryName=identifier, imageScanningConfiguration=scanning)
        if "tags" in changed:
            arn = call.arn("ecr", f"repository/{identifier}")
            update_tags(ecr, arn, news.get("tags"), pairs=True)

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        force = bool(outputs.get("forceDelete"))
        try:
            call.client("ecr").find("delete_repository", _GONE, repositoryName=identifier, force=force)
        except AwsError as error:
            if error.code != "RepositoryNotEmptyException":
                raise
            remedy = "delete them, or set force_delete on the repository, run `up`, and destroy again"
            raise ProviderError(f"{error}. Repository {identifier} still holds images; {remedy}") from error


class _RepositoryDocument(Handler):
    """A JSON document of a repository; its id is the repository's name."""

    immutable = frozenset({"repository"})
    documents = frozenset({"policy"})
    kind: ClassVar[str]
    """Name of the document in API operations, as in `get_<kind>`."""
    text: ClassVar[str]
    """Name of the document's text in the API."""
    missing: ClassVar[str]
    """Error code for a repository without the document."""

    @override
    def read(self, call: Call, identifier: str, previous: Properties) -> Properties | None:
        answer = call.client("ecr").find(f"get_{self.kind}", {*_GONE, self.missing}, repositoryName=identifier)
        if answer is None:
            return None
        return {
            "repository": identifier,
            "policy": answer[self.text],
            "registryId": answer.get("registryId") or call.account,
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        self.create(call, {**news, "repository": identifier})

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("ecr").find(f"delete_{self.kind}", {*_GONE, self.missing}, repositoryName=identifier)


class RepositoryPolicy(_RepositoryDocument):
    """The resource policy of a repository."""

    token = "aws:ecr/repositoryPolicy:RepositoryPolicy"  # noqa: S105 - a type token
    kind = "repository_policy"
    text = "policyText"
    missing = "RepositoryPolicyNotFoundException"

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        call.retry(
            lambda: call.client("ecr").call(
                "set_repository_policy", repositoryName=inputs["repository"], policyText=inputs["policy"]
            ),
            {"InvalidParameterException"},  # AWS may not know a principal that was created a second ago
        )
        return str(inputs["repository"])


class LifecyclePolicy(_RepositoryDocument):
    """The rules for expiring images."""

    token = "aws:ecr/lifecyclePolicy:LifecyclePolicy"  # noqa: S105 - a type token
    kind = "lifecycle_policy"
    text = "lifecyclePolicyText"
    missing = "LifecyclePolicyNotFoundException"

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        call.client("ecr").call(
            "put_lifecycle_policy", repositoryName=inputs["repository"], lifecyclePolicyText=inputs["policy"]
        )
        return str(inputs["repository"])
