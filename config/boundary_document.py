"""The document of the organisation's boundary (`platform.boundary_document`): a JSON file beside the stack files, for `access` and the rules.

IAM never gets it: the accounts have the policy already. Without it, nobody can compute what the boundary leaves of a role's rights.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from config.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from config.foundation import FoundationPlatform
    from config.sections import Platform

LONGEST_POLICY = 6144
"""Characters of a managed policy without white space. Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html"""


def problems(platform: Platform | FoundationPlatform, root: Path) -> Iterator[Problem]:
    """Check that the file is a policy document that IAM takes; `root` is the folder of the platform's stack files."""
    if platform.boundary_document is None:
        return
    path, name = "platform.boundary_document", platform.boundary_document
    try:
        document = json.loads((root / name).read_text(encoding="utf-8"))
    except OSError as error:
        yield Problem(
            path=path, message=f"{name!r} cannot be read ({error.strerror}); write a path from the repository's root"
        )
        return
    except (ValueError, RecursionError):
        yield Problem(
            path=path,
            message=f"{name!r} is not JSON; write the policy's document as `aws iam get-policy-version` shows it",
        )
        return
    if not isinstance(document, dict) or not document.get("Statement"):
        yield Problem(
            path=path, message=f"{name!r} has no Statement; write the whole policy document, with Version and Statement"
        )
        return
    length = len(json.dumps(document, separators=(",", ":")))
    if length > LONGEST_POLICY:
        yield Problem(
            path=path,
            message=f"{name!r} has {length} characters, and IAM takes {LONGEST_POLICY} of a managed policy; write the document that the accounts have",
        )


def read(platform: Platform | FoundationPlatform, root: Path) -> dict[str, Any] | None:
    """Return the document, or None if the settings name none, or a file that `problems` complains of."""
    if platform.boundary_document is None or any(problems(platform, root)):
        return None
    document: dict[str, Any] = json.loads((root / platform.boundary_document).read_text(encoding="utf-8"))
    return document
