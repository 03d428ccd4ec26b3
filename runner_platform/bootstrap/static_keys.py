"""The search for static AWS keys in every place that a deployment would read, and their refusal.

The key of an IAM user or a root user never expires, is copied, and acts for people who left. The platform works with sessions: of IAM
Identity Center, of a role, of a job's ID token. A key id of twelve digits is an account of the sandbox. AWS's key ids have letters and at least
16 characters, so such a key opens nothing in AWS; it is allowed only while AWS's endpoint is on this machine's loopback.
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html#identifiers-unique-ids
"""

from __future__ import annotations

import configparser
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner_platform.driver.project import in_sandbox
from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LONG_TERM = re.compile(r"\bAKIA[A-Z0-9]{12,}\b")
SANDBOX_KEY = re.compile(r"\d{12}")


@dataclass(frozen=True, kw_only=True)
class StaticKey:
    """A key that never expires."""

    place: str
    """File and section, or the environment variable."""
    key: str
    """The key's id, with all but the last four characters masked."""


def refuse(environment: Mapping[str, str], documents: Iterable[Path] = ()) -> None:
    """Refuse static keys.

    Args:
        environment: environment variables of this process; they also name the AWS files.
        documents: further files that must not hold a key, such as stack files.

    Raises:
        FailedError: names every place of a static key, and the remedy.
    """
    keys = [*in_environment(environment), *in_aws_files(environment), *in_documents(documents)]
    if keys:
        places = "\n".join(f"  {key.place}: {key.key}" for key in keys)
        raise FailedError(
            f"static AWS keys are refused:\n{places}\n"
            "They never expire and act as whoever made them. Use sessions: `aws configure sso` (IAM Identity Center) for a profile of the "
            "management account, or a profile with role_arn. Delete the keys; for a key that belongs to something else, point "
            "AWS_SHARED_CREDENTIALS_FILE and AWS_CONFIG_FILE at files without it."
        )


def in_environment(environment: Mapping[str, str]) -> Iterator[StaticKey]:
    """Find a key in the environment variables."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"):  # Go reads both
        key = environment.get(variable, "")
        if key and _is_static(key, environment.get("AWS_SESSION_TOKEN", "")):
            yield StaticKey(place=f"variable {variable}", key=_mask(key))


def in_aws_files(environment: Mapping[str, str]) -> Iterator[StaticKey]:
    """Find keys in the AWS config and credentials files."""
    folder = f"{environment.get('HOME') or '~'}/.aws"
    for variable, name in (("AWS_SHARED_CREDENTIALS_FILE", "credentials"), ("AWS_CONFIG_FILE", "config")):
        file = Path(os.path.expanduser(environment.get(variable) or f"{folder}/{name}"))  # noqa: PTH111  # raises nothing
        for section, values in _read_sections(file):
            key = values.get("aws_access_key_id", "").strip()
            if key and _is_static(key, values.get("aws_session_token", "")):
                yield StaticKey(place=f"{file}, [{section}]", key=_mask(key))


def in_documents(files: Iterable[Path]) -> Iterator[StaticKey]:
    """Find ids of long-term keys anywhere in files."""
    for file in files:
        if file.is_file():
            text = file.read_text(encoding="utf-8", errors="replace")
            yield from (StaticKey(place=str(file), key=_mask(key)) for key in LONG_TERM.findall(text))


def _read_sections(file: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    # As strict as boto3, which reads these files for the checks of the organisation.
    if not file.is_file():
        return  # no file, no keys: SDKs go on without it, too, and do not read a pipe
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        content = file.read_bytes()
    except OSError:
        return
    try:
        parser.read_string(content.decode(), source=file.name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise FailedError(
            f"{file} cannot be read as an AWS config: line {line} is not UTF-8; save the file as UTF-8, because some SDKs read nothing else"
        ) from None
    except configparser.Error as error:
        raise FailedError(f"{file} cannot be read as an AWS config: {_reason(error)}; correct the file") from None
    yield from parser.items()


def _reason(error: configparser.Error) -> str:
    """Return the first line of an error and the number of the file's line, without its text, which may be a secret."""
    reason = error.message.splitlines()[0]
    lines = getattr(error, "errors", [])
    return f"{reason.partition(':')[0]}, line {lines[0][0]}" if lines else reason


def _is_static(key: str, session_token: str) -> bool:
    if SANDBOX_KEY.fullmatch(key) and in_sandbox():
        return False
    return bool(LONG_TERM.fullmatch(key)) or not session_token.strip()


def _mask(key: str) -> str:
    return f"{'*' * max(len(key) - 4, 0)}{key[-4:]}"
