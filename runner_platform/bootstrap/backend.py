"""Where the platform's own state and secrets are, as the engine writes it down.

`awssdk=v2` in each URL makes engines before 3.245 read AWS configs as every other SDK does; later ones ignore it.
https://www.pulumi.com/docs/iac/concepts/state-and-backends/ and https://gocloud.dev/howto/blob/#s3
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.documents.platform_roles import SECRETS_KEY_ALIAS
from config.names import state_bucket

if TYPE_CHECKING:
    from config.foundation import FoundationSettings

FOLDER = "platform"
"""Prefix of the platform's own state in the bucket; the only one that the reader may read."""


def bucket(settings: FoundationSettings) -> str:
    """The bucket that keeps the platform's own state."""
    return state_bucket(settings.organization, settings.accounts[settings.platform.state_account].id)


def state_url(settings: FoundationSettings, who: str) -> str:
    """URL of the state backend.

    Args:
        settings: of the foundation.
        who: `foundation` or `platform`: whose profiles are used, `<who>-<account>`.
    """
    return f"s3://{bucket(settings)}/{FOLDER}?{_query(settings, who)}"


def secrets_url(settings: FoundationSettings, who: str) -> str:
    """URL of the key that encrypts the secrets of the platform's stacks, for `--secrets-provider`."""
    return f"awskms://{SECRETS_KEY_ALIAS}?{_query(settings, who)}"


def _query(settings: FoundationSettings, who: str) -> str:
    return f"region={settings.organization.region}&profile={who}-{settings.platform.state_account}&awssdk=v2"
