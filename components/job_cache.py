"""JobCache: the bucket that keeps what one job leaves for the next.

Owns the bucket with its key and expiry. Each class has a prefix of its own, which only its manager's role may use
(`runner_identity`), so that what an open class writes a protected class never reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.private_bucket import PrivateBucket, PrivateBucketArgs

if TYPE_CHECKING:
    from config.settings import Settings


@dataclass(frozen=True, kw_only=True)
class JobCacheArgs:
    """Inputs of `JobCache`."""

    settings: Settings
    """Settings of the stack."""


class JobCache(pulumi.ComponentResource):
    """The job cache."""

    bucket: pulumi.Output[str]
    """Physical name of the bucket."""

    def __init__(self, name: str, args: JobCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:JobCache", name, None, opts)
        settings = args.settings
        bucket = PrivateBucket(
            name,
            PrivateBucketArgs(
                organization=settings.organization,
                account_id=settings.platform_account.id,
                bucket=settings.names.cache_bucket(settings.platform_account.id),
                key_alias=settings.names.key_alias("cache"),
                versioned=False,
                expire_days=settings.cache.expire_days,
                protect=False,  # a cache is nothing that anybody must keep
                force_destroy=True,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket = bucket.name
        self.register_outputs({"bucket": self.bucket})
