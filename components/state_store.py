"""StateStore: the state bucket of one account, for its deployments, and in one account for the platform itself.

Owns one versioned bucket with its key. Policies of the delegated roles enforce the prefixes of stacks and levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pulumi

from components.private_bucket import PrivateBucket, PrivateBucketArgs
from config.names import STATE_KEY_ALIAS, state_bucket

if TYPE_CHECKING:
    from config.sections import Organization


@dataclass(frozen=True, kw_only=True)
class StateStoreArgs:
    """Inputs of `StateStore`."""

    organization: Organization
    """Id and region are part of the bucket's name."""
    account_id: str
    """Account of the bucket."""
    protect: bool
    """Guard state against deletion."""


class StateStore(pulumi.ComponentResource):
    """The state bucket of one account."""

    bucket: pulumi.Output[str]
    """Physical name of the bucket."""

    def __init__(self, name: str, args: StateStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("runnerplatform:index:StateStore", name, None, opts)
        store = PrivateBucket(
            name,
            PrivateBucketArgs(
                organization=args.organization,
                account_id=args.account_id,
                bucket=state_bucket(args.organization, args.account_id),
                key_alias=STATE_KEY_ALIAS,
                versioned=True,
                protect=args.protect,
            ),
            pulumi.ResourceOptions(parent=self),
        )
        self.bucket = store.name
        self.register_outputs({"bucket": self.bucket})
