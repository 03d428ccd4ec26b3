"""The objects of a self-managed state backend: a folder or an S3 bucket.

The engine keeps `.pulumi/` below the backend's root; the driver keeps `.runner-platform/` beside it. This module reads, writes, lists and
deletes objects and does not interpret them. Pulumi Cloud is refused, since it has locks and a history of its own.
https://www.pulumi.com/docs/iac/concepts/state-and-backends/
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qs, urlsplit

from config import stack_file
from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTRIBUTES: Final = ".attrs"
"""Suffix of the file with attributes that the engine keeps beside each object in a folder."""


class Store(Protocol):
    """Objects by key. A key uses slashes and is relative to the backend's root."""

    url: str

    def read(self, key: str) -> bytes | None:
        """Return the object, or None if it does not exist."""

    def write(self, key: str, content: bytes) -> None:
        """Replace the whole object at once."""

    def delete(self, key: str) -> None:
        """Delete the object. A missing object is no error."""

    def keys(self, prefix: str) -> list[str]:
        """List the keys with this prefix, sorted."""


class FolderStore:
    """A backend `file://<folder>`."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def read(self, key: str) -> bytes | None:
        """Return the object, or None if it does not exist."""
        with _explain_errors(self.url):
            try:
                return (self.folder / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, key: str, content: bytes) -> None:
        """Replace the whole object at once."""
        with _explain_errors(self.url):
            file = self.folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            try:
                with os.fdopen(handle, "wb") as draft:
                    draft.write(content)
                Path(name).replace(file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def delete(self, key: str) -> None:
        """Delete the object and its attributes. A missing object is no error."""
        with _explain_errors(self.url):
            (self.folder / key).unlink(missing_ok=True)
            (self.folder / f"{key}{ATTRIBUTES}").unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """List the keys with this prefix, sorted, without the attribute files."""
        start = self.folder / prefix.rpartition("/")[0]
        with _explain_errors(self.url):
            keys = [str(file.relative_to(self.folder)) for file in start.rglob("*") if file.is_file()]
        return sorted(key for key in keys if key.startswith(prefix) and not key.endswith(ATTRIBUTES))


class BucketStore:
    """A backend `s3://<bucket>/<prefix>?region=…&profile=…`.

    Args:
        url: the backend's URL, as the engine gets it.
        client: an S3 client of boto3.
        bucket: the bucket's name.
        prefix: prefix of all keys; empty or ending with a slash.
    """

    def __init__(self, url: str, client: Any, bucket: str, prefix: str) -> None:
        self.url = url
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def read(self, key: str) -> bytes | None:
        """Return the object, or None if it does not exist."""
        with _explain_errors(self.url):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except self._client.exceptions.NoSuchKey:
                return None
            content: bytes = answer["Body"].read()
            return content

    def write(self, key: str, content: bytes) -> None:
        """Replace the whole object at once."""
        with _explain_errors(self.url):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def delete(self, key: str) -> None:
        """Delete the object. A versioned bucket can bring it back."""
        with _explain_errors(self.url):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """List the keys with this prefix, sorted."""
        with _explain_errors(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            keys = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in keys)


def current_url(folder: Path) -> str:
    """Return the backend that plain `pulumi` would use in a project's folder.

    Raises:
        WrongUseError: no backend is configured; the engine's default, Pulumi Cloud, is never assumed.
    """
    project = stack_file.document_of(folder / "Pulumi.yaml")
    url = os.environ.get("PULUMI_BACKEND_URL") or (project.get("backend") or {}).get("url") or _logged_in_url()
    if not url:
        raise WrongUseError("no state backend is configured; set PULUMI_BACKEND_URL, or run `pulumi login s3://…`")
    return str(url)


def _logged_in_url() -> str:
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((home / "credentials.json").read_text()).get("current") or "")
    return ""


def open_store(url: str) -> Store:
    """Open the backend at a URL.

    Raises:
        WrongUseError: the scheme is neither `file` nor `s3`.
        FailedError: the URL's AWS profile does not exist.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        folder = Path(os.path.expandvars(f"{parts.netloc}{parts.path}")).expanduser()
        return FolderStore(url, folder.resolve())
    if parts.scheme == "s3":
        return _open_bucket(url)
    raise WrongUseError(
        f"the state backend {url or '(empty)'} is neither file:// nor s3://; set PULUMI_BACKEND_URL to one of these"
    )


def _open_bucket(url: str) -> BucketStore:
    import boto3  # noqa: PLC0415  # takes a third of a second, and a folder does not need it
    from botocore.config import Config  # noqa: PLC0415  # same

    parts = urlsplit(url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    endpoint = options.get("endpoint")
    if endpoint and "://" not in endpoint:
        endpoint = f"http{'' if options.get('disableSSL') == 'true' else 's'}://{endpoint}"
    with _explain_errors(url):
        session = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region"))
        config = Config(retries={"mode": "standard", "total_max_attempts": 10}, connect_timeout=10, read_timeout=30)
        client = session.client("s3", endpoint_url=endpoint, config=config)
    prefix = parts.path.strip("/")
    return BucketStore(url, client, parts.netloc, f"{prefix}/" if prefix else "")


@contextlib.contextmanager
def _explain_errors(url: str) -> Iterator[None]:
    """Turn an error of the file system or of S3 into a sentence."""
    try:
        yield
    except OSError as error:
        raise FailedError(f"the state backend {url} cannot be used: {error.strerror or error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"botocore", "boto3"}:
            raise
        raise FailedError(f"the state backend {url} cannot be used: {error}") from error
