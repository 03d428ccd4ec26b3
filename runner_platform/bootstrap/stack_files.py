"""The lines of a stack file that say who encrypts its secrets; everything else in it stays as it is written.

The engine writes them itself (`encryptionsalt` for a passphrase; `secretsprovider` and `encryptedkey` for a key), and refuses a file whose
lines belong to another passphrase or key. The committed salt belongs to the sandbox's public passphrase.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from pathlib import Path

LINES = re.compile(r"^(encryptionsalt|secretsprovider|encryptedkey):.*\n?", re.MULTILINE)
ENCRYPTED = re.compile(r"^\s+secure:", re.MULTILINE)


def forget(file: Path) -> bool:
    """Take the lines away; returns whether there were any.

    Raises:
        FailedError: the file holds secrets, which only the lines can open.
    """
    text = file.read_text()
    if not LINES.search(text):
        return False
    if ENCRYPTED.search(text):
        raise FailedError(
            f"{file.name} holds secrets that its present passphrase or key encrypts; take them out, and set them again after the bootstrap "
            "(`pulumi config set --secret`)"
        )
    draft = file.with_name(f".{file.name}.draft")
    draft.write_text(LINES.sub("", text))
    draft.replace(file)
    return True
