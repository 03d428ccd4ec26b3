"""SecretsKey: the key that encrypts the secrets of the platform's own stacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi
import pulumi_aws as aws

from components.documents.platform_roles import SECRETS_KEY_ALIAS
from components.documents.storage import key_policy

if TYPE_CHECKING:
    from config.sections import Organization


@dataclass(frozen=True, kw_only=True)
class SecretsKeyArgs:
    """Inputs of `SecretsKey`."""

    organization: Organization
    """Partition and region."""
    account_id: str
    """Account of the platform's own state."""
    profile: str
    """AWS profile by which the stacks' programs use the key."""
    protect: bool
    """Guard the key against deletion; without the key all secrets of the stacks are lost."""


class SecretsKey(pulumi.ComponentResource):
    """The key of the stacks' secrets."""

    secrets_provider: pulumi.Output[str]
    """Argument of `pulumi stack init --secrets-provider`: `awskms://alias/…?region=…&profile=…&awssdk=v2`."""

    def __init__(self, name: str, args: SecretsKeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:SecretsKey", name, None, opts)
        key = aws.kms.Key(
            f"{name}-key",
            description="secrets of the runner platform's stacks",
            enable_key_rotation=True,
            deletion_window_in_days=30,
            policy=pulumi.Output.json_dumps(key_policy(args.organization, args.account_id)),
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, retain_on_delete=args.protect),
        )
        alias = aws.kms.Alias(
            f"{name}-alias", name=SECRETS_KEY_ALIAS, target_key_id=key.key_id, opts=pulumi.ResourceOptions(parent=self)
        )
        # Version 2 of the SDK: version 1 cannot assume a profile's role.
        query = f"region={args.organization.region}&profile={args.profile}&awssdk=v2"
        self.secrets_provider = alias.name.apply(lambda text: f"awskms://{text}?{query}")
        self.register_outputs({"secrets_provider": self.secrets_provider})
