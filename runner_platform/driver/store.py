"""The objects of a self-managed state backend: a folder or an S3 bucket.

Owns reading, writing, listing and deleting objects below the backend's root, where the engine keeps `.pulumi/` and the driver keeps
`.runner-platform/` beside it. Leaves out what the objects mean. Pulumi Cloud is refused: it has locks and history of its own.
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

import yaml

from runner_platform.errors import FailedError, WrongUseError

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTRIBUTES: Final = ".attrs"
"""Suffix of the file that the file backend keeps beside each object; it is no object itself."""


class Store(Protocol):
    """Objects by key; keys use slashes and are relative to the backend's root."""

    url: str

    def read(self, key: str) -> bytes | None:
        """The object, None where there is none."""

    def write(self, key: str, content: bytes) -> None:
        """Put the whole object in place at once."""

    def delete(self, key: str) -> None:
        """Delete the object; one that is gone already is no error."""

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin with the prefix, sorted."""


class FolderStore:
    """A backend `file://<folder>`."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder

    def read(self, key: str) -> bytes | None:
        """The object, None where there is none."""
        with _explained(self.url):
            try:
                return (self.folder / key).read_bytes()
            except (FileNotFoundError, NotADirectoryError):
                return None

    def write(self, key: str, content: bytes) -> None:
        """Put the whole object in place at once."""
        with _explained(self.url):
            file = self.folder / key
            file.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
            try:
                with os.fdopen(handle, "wb") as opened:
                    opened.write(content)
                Path(name).replace(file)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise

    def delete(self, key: str) -> None:
        """Delete the object and its attributes."""
        with _explained(self.url):
            (self.folder / key).unlink(missing_ok=True)
            (self.folder / f"{key}{ATTRIBUTES}").unlink(missing_ok=True)

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin with the prefix, sorted; the backend's attribute files are none."""
        start = self.folder / prefix.rpartition("/")[0]
        with _explained(self.url):
            found = [str(file.relative_to(self.folder)) for file in start.rglob("*") if file.is_file()]
        return sorted(key for key in found if key.startswith(prefix) and not key.endswith(ATTRIBUTES))


class BucketStore:
    """A backend `s3://<bucket>/<prefix>?region=…&profile=…`.

    Args:
        url: as the engine gets it.
        client: an S3 client of boto3.
        bucket: the bucket's name.
        prefix: what all keys begin with; empty or ending with a slash.
    """

    def __init__(self, url: str, client: Any, bucket: str, prefix: str) -> None:
        self.url = url
        self._client, self._bucket, self._prefix = client, bucket, prefix

    def read(self, key: str) -> bytes | None:
        """The object, None where there is none."""
        with _explained(self.url):
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except self._client.exceptions.NoSuchKey:
                return None
            content: bytes = answer["Body"].read()
            return content

    def write(self, key: str, content: bytes) -> None:
        """Put the whole object in place at once."""
        with _explained(self.url):
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=content)

    def delete(self, key: str) -> None:
        """Delete the object; in a versioned bucket it can be brought back."""
        with _explained(self.url):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def keys(self, prefix: str) -> list[str]:
        """Keys that begin with the prefix, sorted."""
        with _explained(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            found = [entry["Key"] for page in pages for entry in page.get("Contents", [])]
        return sorted(key.removeprefix(self._prefix) for key in found)


def backend_url(folder: Path) -> str:
    """The backend that `pulumi` would use in a project's folder.

    Raises:
        WrongUseError: none is named anywhere; the engine's default, Pulumi Cloud, is never guessed.
    """
    project = yaml.safe_load((folder / "Pulumi.yaml").read_text())
    url = os.environ.get("PULUMI_BACKEND_URL") or (project.get("backend") or {}).get("url") or _logged_in()
    if not url:
        raise WrongUseError("no state backend is named; set PULUMI_BACKEND_URL, or `pulumi login s3://…`")
    return str(url)


def _logged_in() -> str:
    home = Path(os.environ.get("PULUMI_HOME") or Path.home() / ".pulumi")
    with contextlib.suppress(OSError, ValueError):
        return str(json.loads((home / "credentials.json").read_text()).get("current") or "")
    return ""


def open_store(url: str) -> Store:
    """The store behind a backend's URL.

    Raises:
        WrongUseError: neither `file://` nor `s3://`.
        FailedError: the URL's AWS profile does not exist.
    """
    parts = urlsplit(url)
    if parts.scheme == "file":
        folder = Path(os.path.expandvars(f"{parts.netloc}{parts.path}")).expanduser()
        return FolderStore(url, folder.resolve())
    if parts.scheme == "s3":
        return _bucket(url)
    raise WrongUseError(f"the state backend {url or '(none)'} is neither file:// nor s3://; the driver knows these two")


def _bucket(url: str) -> BucketStore:
    import boto3  # noqa: PLC0415  # takes a third of a second, and a file backend needs none of it
    from botocore.config import Config  # noqa: PLC0415  # same

    parts = urlsplit(url)
    options = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    endpoint = options.get("endpoint")
    if endpoint and "://" not in endpoint:
        endpoint = f"http{'' if options.get('disableSSL') == 'true' else 's'}://{endpoint}"
    with _explained(url):
        session = boto3.Session(profile_name=options.get("profile"), region_name=options.get("region"))
        config = Config(retries={"mode": "standard", "total_max_attempts": 10}, connect_timeout=10, read_timeout=30)
        client = session.client("s3", endpoint_url=endpoint, config=config)
    prefix = parts.path.strip("/")
    return BucketStore(url, client, parts.netloc, f"{prefix}/" if prefix else "")


@contextlib.contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what the file system or S3 says into a sentence."""
    try:
        yield
    except OSError as error:
        raise FailedError(f"the state backend {url} cannot be used: {error.strerror or error}") from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in {"botocore", "boto3"}:
            raise
        raise FailedError(f"the state backend {url} cannot be used: {error}") from error
