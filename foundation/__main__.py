"""The foundation: everything that exists once per account and outlives the platform.

State stores, permissions boundaries, the platform's own roles, and the key of its secrets. A person with the management account's
role runs it, rarely; the profiles `foundation-<account>` come from that person's AWS config.
"""

import pulumi

from components.documents.checks import FOUNDATION_CHECKS
from components.guard import Guard, GuardArgs
from components.platform_access import PlatformAccess, PlatformAccessArgs
from components.providers import account_providers
from components.secrets_key import SecretsKey, SecretsKeyArgs
from components.state_store import StateStore, StateStoreArgs
from config import load
from config.names import state_bucket
from config.tags import default_tags

settings = load.current_foundation(*FOUNDATION_CHECKS)
organization, platform = settings.organization, settings.platform
tags = default_tags(pulumi.get_stack(), settings.tags)
providers = account_providers(settings.accounts, region=organization.region, tags=tags, profile_prefix="foundation")

stores: dict[str, StateStore] = {}
access: dict[str, PlatformAccess] = {}
for name, account in settings.accounts.items():
    opts = pulumi.ResourceOptions(provider=providers[name])
    store_args = StateStoreArgs(organization=organization, account_id=account.id, protect=platform.protect)
    stores[name] = StateStore(f"state-{name}", store_args, opts)
    access_args = PlatformAccessArgs(
        organization=organization,
        account_id=account.id,
        state_bucket=state_bucket(organization, settings.accounts[platform.state_account].id),
        gitlab_url=settings.gitlab.url,
        project=platform.project,
        ref=platform.ref,
        operators=platform.operators,
        boundary=platform.boundary,
        protect=platform.protect,
    )
    access[name] = PlatformAccess(f"access-{name}", access_args, opts)
key = SecretsKey(
    "secrets",
    SecretsKeyArgs(
        organization=organization,
        account_id=settings.accounts[platform.state_account].id,
        profile=f"platform-{platform.state_account}",
        protect=platform.protect,
    ),
    pulumi.ResourceOptions(provider=providers[platform.state_account]),
)
Guard("guard", GuardArgs(protect=platform.protect, over=[*stores.values(), *access.values(), key]))

pulumi.export("secrets_provider", key.secrets_provider)
pulumi.export("state_buckets", {name: store.bucket for name, store in stores.items()})
pulumi.export("deployers", {name: roles.deployer_arn for name, roles in access.items()})
