"""Registry: the container repositories of a stack, with one prefix for each trust level.

Owns the repositories of the settings and the runner image's, with immutable tags unless the settings say otherwise, scanning, expiry, and the organisation's
permission to pull. Delegated roles bring the permission to push, by prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents.registry import lifecycle, pull_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.names import Names


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """Inputs of `Registry`."""

    names: Names
    """Names of the stack."""
    repositories: Mapping[str, bool]
    """Whether tags may be overwritten, by name of every repository, the runner image's among them."""
    protect: bool
    """Guard repositories against deletion."""

    def __post_init__(self) -> None:
        """Refuse a registry without the runner image's repository."""
        if self.names.runner_image() not in self.repositories:
            raise ValueError(
                f"repositories {list(self.repositories)} lack {self.names.runner_image()!r}, which every job pulls; add it"
            )


class Registry(pulumi.ComponentResource):
    """Repositories for images."""

    runner_image: pulumi.Output[str]
    """URL of the runner image's repository."""
    repositories: Mapping[str, pulumi.Output[str]]
    """URLs of all repositories, by name."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Registry", name, None, opts)
        self._name, self._args = name, args
        self.repositories = {repository: self._repository(repository) for repository in args.repositories}
        self.runner_image = self.repositories[args.names.runner_image()]
        self.register_outputs({"runner_image": self.runner_image, "repositories": self.repositories})

    def _repository(self, physical_name: str) -> pulumi.Output[str]:
        names, protect = self._args.names, self._args.protect
        # The stack's prefix stays out of the logical name. Two dashes for a slash: a/b and a-b are two repositories.
        level, _, own_name = physical_name.removeprefix(names.prefix).partition("/")
        name = f"{self._name}-{level}-{own_name.replace('/', '--')}"
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            name,
            name=physical_name,  # fixed: permissions go by prefix, and pipelines name it
            image_tag_mutability="MUTABLE" if self._args.repositories[physical_name] else "IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            force_delete=not protect,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        aws.ecr.RepositoryPolicy(
            f"{name}-pull",
            repository=repository.name,
            policy=pulumi.Output.json_dumps(pull_policy(names.organization)),
            opts=child,
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-expiry", repository=repository.name, policy=pulumi.Output.json_dumps(lifecycle()), opts=child
        )
        return repository.repository_url
