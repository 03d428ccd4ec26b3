"""A bootstrap with a mistake, in an empty organisation: every mistake is reported before anything is touched."""

from __future__ import annotations

import configparser
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.running_sandbox import Completed, Sandbox

pytestmark = pytest.mark.sandbox
KEY = "AKIAIOSFODNN7EXAMPLE"
REGION = "eu-central-1"
STATE, DEV_STATE = (f"o-senncloud01-state-{account}-{REGION}" for account in ("111111111111", "333333333333"))
WITHOUT_BACKEND = ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE")


@pytest.fixture(scope="module")
def empty(own: Sandbox) -> Sandbox:
    """A running sandbox without a deployment."""
    started = own.command("start")
    assert started.returncode == 0, started.stderr
    return own


@pytest.fixture
def variables(empty: Sandbox) -> dict[str, str]:
    return {name: value for name, value in empty.variables.items() if name not in WITHOUT_BACKEND}


@pytest.fixture
def own_files(empty: Sandbox, tmp_path: Path) -> dict[str, Path]:
    """Copies of the AWS files, to be changed."""
    for name in ("config", "credentials"):
        (tmp_path / name).write_text((empty.paths.home / ".aws" / name).read_text())
    return {"AWS_CONFIG_FILE": tmp_path / "config", "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "credentials"}


def refused(empty: Sandbox, tmp_path: Path, variables: dict[str, str]) -> str:
    """Return the output of a bootstrap that must refuse; `--dry-run` protects the files of this repository."""
    work = tmp_path / "work"
    done: Completed = empty.run(
        [sys.executable, "-m", "runner_platform", "bootstrap", "--dry-run", "--work", str(work)], variables
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("target: the sandbox")
    assert "to do" not in done.stderr
    assert not work.exists()
    return done.stderr


def edited(file: Path, section: str, **values: str) -> None:
    """Give a profile of an AWS config other values; without any, take the profile away."""
    parser = configparser.RawConfigParser()
    parser.read(file)
    if not values:
        parser.remove_section(section)
    for name, value in values.items():
        parser.set(section, name, value)
    with file.open("w") as text:
        parser.write(text)


def test_a_key_in_the_environment_is_refused_with_the_reason(empty: Sandbox, tmp_path: Path, variables: Any) -> None:
    output = refused(empty, tmp_path, {**variables, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "x"})
    assert "variable AWS_ACCESS_KEY_ID: ****************MPLE" in output
    assert "They never expire and act as whoever made them" in output


def test_a_key_in_the_home_folder_is_refused_with_its_place(empty: Sandbox, tmp_path: Path, variables: Any) -> None:
    (tmp_path / ".aws").mkdir()
    file = tmp_path / ".aws" / "credentials"
    file.write_text(f"[work]\naws_access_key_id = {KEY}\naws_secret_access_key = x\n")
    variables.pop("AWS_SHARED_CREDENTIALS_FILE")
    assert f"{file}, [work]: ****************MPLE" in refused(empty, tmp_path, {**variables, "HOME": str(tmp_path)})


def test_a_missing_profile_is_named_with_the_command_that_prints_it(
    empty: Sandbox, tmp_path: Path, variables: Any, own_files: dict[str, Path]
) -> None:
    edited(own_files["AWS_CONFIG_FILE"], "profile foundation-dev")
    output = refused(empty, tmp_path, {**variables, **{name: str(file) for name, file in own_files.items()}})
    assert "problem  foundation-dev: there is no such profile" in output
    assert "runner-platform profiles --platform foundation" in output


def test_a_profile_of_another_account_is_named_with_both_accounts(
    empty: Sandbox, tmp_path: Path, variables: Any, own_files: dict[str, Path]
) -> None:
    role = "arn:aws:iam::444444444444:role/OrganizationAccountAccessRole"
    edited(own_files["AWS_CONFIG_FILE"], "profile foundation-dev", role_arn=role)
    output = refused(empty, tmp_path, {**variables, **{name: str(file) for name, file in own_files.items()}})
    assert "foundation-dev: it opens account 444444444444, and accounts.dev.id is 333333333333" in output


def test_a_root_users_key_is_refused_even_where_keys_are_allowed(
    empty: Sandbox, tmp_path: Path, variables: Any, own_files: dict[str, Path]
) -> None:
    edited(own_files["AWS_CONFIG_FILE"], "profile foundation-dev")
    with own_files["AWS_SHARED_CREDENTIALS_FILE"].open("a") as file:
        file.write("[foundation-dev]\naws_access_key_id = 333333333333\naws_secret_access_key = x\n")
    output = refused(empty, tmp_path, {**variables, **{name: str(file) for name, file in own_files.items()}})
    assert "foundation-dev: it is arn:aws:iam::333333333333:root, which is no role" in output


@pytest.fixture
def bucket(empty: Sandbox, request: pytest.FixtureRequest) -> Iterator[str]:
    """A bucket of a name that the platform needs, in an account as the test says."""
    profile, name = request.param
    session = boto3.Session(aws_access_key_id=profile, aws_secret_access_key="x", region_name=REGION)
    client = session.client("s3", endpoint_url=empty.variables["AWS_ENDPOINT_URL"])
    client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    yield name
    client.delete_bucket(Bucket=name)


@pytest.mark.parametrize("bucket", [("444444444444", STATE), ("444444444444", DEV_STATE)], indirect=True)
def test_a_bucket_of_another_account_is_found_before_anything_is_deployed(
    empty: Sandbox, tmp_path: Path, variables: Any, bucket: str
) -> None:
    output = refused(empty, tmp_path, variables)
    assert f"problem  bucket {bucket}: it exists and is not " in output
    assert f"nothing was made; in the way: bucket {bucket}" in output


@pytest.mark.parametrize("bucket", [("111111111111", STATE)], indirect=True)
def test_a_bucket_without_a_state_stops_the_bootstrap(
    empty: Sandbox, tmp_path: Path, variables: Any, bucket: str
) -> None:
    output = refused(empty, tmp_path, variables)
    assert f"nothing was made: bucket {bucket} is there" in output
    assert "--work" in output


def test_without_an_engine_nothing_begins(empty: Sandbox, tmp_path: Path, variables: Any) -> None:
    assert "the Pulumi CLI is not on PATH" in refused(empty, tmp_path, {**variables, "PATH": "/usr/bin:/bin"})
