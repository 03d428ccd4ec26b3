"""What exists once per account and outlives the platform: state stores, the boundary, the platform's own roles.

Run rarely, by a person with the management account's role. The profiles `foundation-<account>` come from the caller's AWS config.
"""

import pulumi

from components.guard import Guard, GuardArgs
from components.platform_access import PlatformAccess, PlatformAccessArgs
from components.providers import account_provider
from components.secrets_key import SecretsKey, SecretsKeyArgs
from components.state_store import StateStore, StateStoreArgs
from config import load
from config.names import state_bucket

settings = load.current_foundation()
common = settings.platform.state_account
common_bucket = state_bucket(settings.organization, settings.accounts[common].id)

stores: dict[str, StateStore] = {}
access: dict[str, PlatformAccess] = {}
for account, its in settings.accounts.items():
    provider = account_provider(
        account,
        account_id=its.id,
        organization=settings.organization,
        stack=pulumi.get_stack(),
        tags=settings.tags,
        profile=f"foundation-{account}",
    )
    opts = pulumi.ResourceOptions(provider=provider)
    stores[account] = StateStore(
        f"state-{account}",
        StateStoreArgs(organization=settings.organization, account_id=its.id, protect=settings.platform.protect),
        opts,
    )
    access[account] = PlatformAccess(
        f"access-{account}",
        PlatformAccessArgs(
            organization=settings.organization,
            account_id=its.id,
            state_bucket=common_bucket,
            gitlab_url=settings.gitlab.url,
            project=settings.platform.project,
            ref=settings.platform.ref,
            operators=settings.platform.operators,
            protect=settings.platform.protect,
        ),
        opts,
    )
    if account == common:
        key = SecretsKey(
            "secrets",
            SecretsKeyArgs(
                organization=settings.organization,
                account_id=its.id,
                profile=f"platform-{account}",
                protect=settings.platform.protect,
            ),
            opts,
        )
        pulumi.export("secrets_provider", key.secrets_provider)
Guard("guard", GuardArgs(protect=settings.platform.protect, over=[*stores.values(), *access.values(), key]))

pulumi.export("state_buckets", {account: store.bucket for account, store in stores.items()})
pulumi.export("deployers", {account: each.deployer_arn for account, each in access.items()})
