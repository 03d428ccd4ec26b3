"""JobCache: the bucket in which a job leaves files for the next job.

Owns the bucket with its key and expiry. Each class has its own prefix, which only its manager's role may use
(`runner_identity`), so that a protected class never reads what an open class wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.private_bucket import PrivateBucket, PrivateBucketArgs

if TYPE_CHECKING:
    from config.names import Names


@dataclass(frozen=True, kw_only=True)
class JobCacheArgs:
    """Inputs of `JobCache`."""

    names: Names
    """Names of the stack."""
    account_id: str
    """Account of the bucket."""
    expire_days: int
    """Days until an object is deleted; 0 keeps objects for ever."""


class JobCache(pulumi.ComponentResource):
    """The job cache."""

    bucket: pulumi.Output[str]
    """Physical name of the bucket."""

    def __init__(self, name: str, args: JobCacheArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:JobCache", name, None, opts)
        bucket = PrivateBucket(
            name,
            PrivateBucketArgs(
                organization=args.names.organization,
                account_id=args.account_id,
                bucket=args.names.cache_bucket(args.account_id),
                key_alias=args.names.key_alias("cache"),
                versioned=False,
                expire_days=args.expire_days,
                protect=False,  # a cache can always be filled again
                force_destroy=True,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket = bucket.name
        self.register_outputs({"bucket": self.bucket})
