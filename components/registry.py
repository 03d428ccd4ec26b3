"""Registry: the container repositories of a stack, one prefix per trust level.

Owns the repositories that the settings name (the runner image among them), immutable tags, scanning, expiry, and the organisation's
right to pull. Who may push is the delegated roles' business, by prefix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents.registry import lifecycle, pull_policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class RegistryArgs:
    """Inputs of `Registry`."""

    settings: Settings
    """Settings of the stack."""


class Registry(pulumi.ComponentResource):
    """Repositories for images."""

    runner_image: pulumi.Output[str]
    """URL of the runner image's repository."""
    repositories: Mapping[str, pulumi.Output[str]]
    """URLs of all repositories, by name."""

    def __init__(self, name: str, args: RegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:Registry", name, None, opts)
        self._name, self._settings = name, args.settings
        self.repositories = {each: self._repository(each) for each in args.settings.repositories()}
        self.runner_image = self.repositories[args.settings.names.runner_image()]
        self.register_outputs({"runner_image": self.runner_image, "repositories": self.repositories})

    def _repository(self, physical_name: str) -> pulumi.Output[str]:
        settings = self._settings
        # The stack's prefix stays out of the logical name. Two dashes for a slash: a/b and a-b are two repositories.
        level, _, own = physical_name.removeprefix(settings.names.prefix).partition("/")
        name = f"{self._name}-{level}-{own.replace('/', '--')}"
        child = pulumi.ResourceOptions(parent=self)
        repository = aws.ecr.Repository(
            f"{name}",
            name=physical_name,  # fixed: rights go by prefix, and pipelines name it
            image_tag_mutability="IMMUTABLE",
            image_scanning_configuration={"scan_on_push": True},
            force_delete=not settings.platform.protect,
            opts=pulumi.ResourceOptions(parent=self, protect=settings.platform.protect),
        )
        aws.ecr.RepositoryPolicy(
            f"{name}-pull",
            repository=repository.name,
            policy=pulumi.Output.json_dumps(pull_policy(settings.organization)),
            opts=child,
        )
        aws.ecr.LifecyclePolicy(
            f"{name}-expiry", repository=repository.name, policy=pulumi.Output.json_dumps(lifecycle()), opts=child
        )
        return repository.repository_url
