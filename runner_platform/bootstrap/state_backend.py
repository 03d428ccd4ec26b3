"""The backend of the platform's own state: its URL, short commands of the Pulumi CLI on it, and the key that encrypts its secrets.

`awssdk=v2` in each URL makes engines before 3.245 read AWS configs as every other SDK does; later ones ignore it.
https://www.pulumi.com/docs/iac/concepts/state-and-backends/ and https://gocloud.dev/howto/blob/#s3
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from components.documents.platform_roles import SECRETS_KEY_ALIAS
from config.names import state_bucket
from runner_platform.driver.engine_process import retrying_disconnected
from runner_platform.errors import FailedError
from runner_platform.stacks import MISSING_CLI

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from config.foundation import FoundationSettings

FOLDER: Final = "platform"
"""Prefix of the platform's own state in the bucket; the only one that the reader's role may read."""
PASSPHRASES: Final = ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE")
ENCRYPTION_LINES: Final = re.compile(r"^(encryptionsalt|secretsprovider|encryptedkey):.*\n?", re.MULTILINE)
SECRET_VALUE: Final = re.compile(r"^\s+secure:", re.MULTILINE)


def bucket_name(settings: FoundationSettings) -> str:
    """Return the bucket of the platform's own state."""
    return state_bucket(settings.organization, settings.accounts[settings.platform.state_account].id)


def state_url(settings: FoundationSettings, profiles: str) -> str:
    """Return the URL of the state backend.

    Args:
        settings: settings of the foundation.
        profiles: `foundation` or `platform`: prefix of the AWS profile `<profiles>-<account>`.
    """
    return f"s3://{bucket_name(settings)}/{FOLDER}?{_query(settings, profiles)}"


def secrets_url(settings: FoundationSettings, profiles: str) -> str:
    """Return the URL of the key that encrypts the stacks' secrets, for `--secrets-provider`."""
    return f"awskms://{SECRETS_KEY_ALIAS}?{_query(settings, profiles)}"


def _query(settings: FoundationSettings, profiles: str) -> str:
    return f"region={settings.organization.region}&profile={profiles}-{settings.platform.state_account}&awssdk=v2"


def require_cli() -> None:
    """Require the Pulumi CLI before the first deployment begins.

    Raises:
        FailedError: the Pulumi CLI is not on PATH.
    """
    if shutil.which("pulumi") is None:
        raise FailedError(MISSING_CLI)


@dataclass(frozen=True, kw_only=True)
class Backend:
    """A state backend with the passphrase of its secrets; this process's environment stays as it is."""

    url: str
    folder: Path
    """Folder of the project."""
    passphrase: Mapping[str, str] = field(default_factory=dict)
    """One of the two variables, or empty where a key encrypts."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment variables for the engine."""
        return {"PULUMI_BACKEND_URL": self.url, "PULUMI_SKIP_UPDATE_CHECK": "true", **self.passphrase}

    def run(self, *arguments: str) -> str:
        """Run a command; return its standard output.

        Raises:
            FailedError: the command failed, or the Pulumi CLI is missing.
        """
        return retrying_disconnected()(self._run_once, *arguments)

    def _run_once(self, *arguments: str) -> str:
        inherited = {name: value for name, value in os.environ.items() if name not in PASSPHRASES}
        try:
            done = subprocess.run(
                ["pulumi", "--non-interactive", *arguments],
                cwd=self.folder,
                env={**inherited, **self.variables},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError:
            raise FailedError(MISSING_CLI) from None
        if done.returncode:
            lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise FailedError(f"pulumi {' '.join(arguments[:2])} on {self.url}: {' '.join(lines[-3:])}")
        return done.stdout

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Make this process use this backend within the block."""
        previous = dict(os.environ)
        for name in PASSPHRASES:
            os.environ.pop(name, None)
        os.environ.update(self.variables)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(previous)


def remove_encryption_lines(file: Path) -> bool:
    """Remove the encryption lines of a stack file; return whether there were any.

    The engine writes these lines (`encryptionsalt` for a passphrase; `secretsprovider` and `encryptedkey` for a key), and refuses a file with
    the lines of another passphrase or key. The committed salt belongs to the sandbox's public passphrase.

    Raises:
        FailedError: the file holds secrets, which cannot be decrypted without the lines.
    """
    text = file.read_text()
    if not ENCRYPTION_LINES.search(text):
        return False
    if SECRET_VALUE.search(text):
        raise FailedError(
            f"{file.name} holds secrets that its present passphrase or key encrypts; take them out, and set them again after the bootstrap "
            "(`pulumi config set --secret`)"
        )
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(ENCRYPTION_LINES.sub("", text))
    draft.replace(file)
    return True
