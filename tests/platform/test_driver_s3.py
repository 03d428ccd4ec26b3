"""The driver on an S3 backend: the real engine, MiniStack's S3, the same locks, records and recoveries as on a folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.aws_cases import ADMIN, REGION, Caller, Cloud
from tests.support.pausing_proxy import EXPIRED, PausingProxy
from tests.support.small_stack import Stack, kill_all, small_stack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.sandbox
pytest_plugins = ["sandbox.tests.support.aws_fixture"]
BUCKET = "o-example1234-state-driver"
STATE = "platform/.pulumi/stacks/driver-test/test.json"
LOCKS = "platform/.pulumi/locks/organization/driver-test/test/"


@dataclass(frozen=True)
class Bucket:
    """The backend's bucket."""

    client: Any

    def keys(self, prefix: str) -> list[str]:
        entries = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return [entry["Key"] for entry in entries]

    def json(self, key: str) -> Any:
        return json.loads(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())


@pytest.fixture
def bucket(aws: Cloud) -> Iterator[Bucket]:
    client = Caller(endpoint=aws.deployer, key=ADMIN).client("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    yield Bucket(client)
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for version in (*page.get("Versions", []), *page.get("DeleteMarkers", [])):
            client.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    client.delete_bucket(Bucket=BUCKET)


def options(address: str) -> str:
    """This version of the engine takes an endpoint from the URL only."""
    return f"region={REGION}&endpoint={address}&disableSSL=true&s3ForcePathStyle=true"


@pytest.fixture
def proxy(aws: Cloud) -> Iterator[PausingProxy]:
    pausing_proxy = PausingProxy(int(aws.deployer.rpartition(":")[2]))
    yield pausing_proxy
    pausing_proxy.close()


@pytest.fixture
def stack(tmp_path: Path, proxy: PausingProxy) -> Iterator[Stack]:
    with small_stack(tmp_path) as small:
        small.environment |= {
            "PULUMI_BACKEND_URL": f"s3://{BUCKET}/platform?{options(proxy.address)}",
            "AWS_ACCESS_KEY_ID": ADMIN,
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": REGION,
        }
        yield small


def test_a_stack_in_a_bucket_recovers_from_a_kill_and_from_a_lost_state(stack: Stack, bucket: Bucket) -> None:
    stack.gitlab.open.clear()
    running = stack.begin("up", "--create")
    stack.in_the_middle(running)
    (lock,) = bucket.keys(LOCKS)
    assert bucket.keys("platform/.runner-platform/owners/"), "the record is beside the state"
    impatient = stack.run("up", "--wait", "0s")
    assert impatient.returncode == 4, impatient.stdout
    kill_all(running, int(bucket.json(lock)["pid"]))
    stack.gitlab.open.set()
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    assert "found: a lock of" in healed.stdout
    assert "was being made when the last run was killed" in healed.stdout
    assert stack.descriptions == [f"runner {number}, first" for number in range(4)]
    assert bucket.keys(LOCKS) == bucket.keys("platform/.runner-platform/owners/") == []
    bucket.client.delete_object(Bucket=BUCKET, Key=STATE)
    lost = stack.run("up", "--create")
    assert lost.returncode == 1
    assert f"aws s3api list-object-versions --bucket {BUCKET} --prefix {STATE}" in lost.stdout
    (marker,) = bucket.client.list_object_versions(Bucket=BUCKET, Prefix=STATE)["DeleteMarkers"]
    bucket.client.delete_object(Bucket=BUCKET, Key=STATE, VersionId=marker["VersionId"])
    assert "no changes" in stack.run("up").stdout


@pytest.mark.parametrize("reason", ["the bucket cannot be reached", "credentials have run out"])
def test_after_a_lost_bucket_the_next_run_finds_the_new_resources(
    stack: Stack, bucket: Bucket, proxy: PausingProxy, reason: str
) -> None:
    assert stack.run("up", "--create").returncode == 0
    stack.set("runners", "6")
    stack.gitlab.open.clear()
    stack.gitlab.asked.clear()
    running = stack.begin("up", PULUMI_PARALLEL="1")
    stack.in_the_middle(running)
    with proxy.closed() if "reached" in reason else proxy.answering("400 Bad Request", EXPIRED):
        stack.gitlab.open.set()
        done = stack.end(running)
    assert done.returncode == 1, done.stdout
    assert "Traceback" not in done.stdout
    assert ("credentials ran out" in done.stdout) is ("run out" in reason), done.stdout
    assert len(stack.descriptions) == 5, "one was made, and nobody could write it down"
    healed = stack.run("up")
    assert healed.returncode == 0, healed.stdout
    assert stack.descriptions == [f"runner {number}, first" for number in range(6)]
    assert bucket.keys(LOCKS) == bucket.keys("platform/.runner-platform/owners/") == []
    assert not bucket.json(STATE)["checkpoint"]["latest"].get("pending_operations")


@pytest.mark.usefixtures("bucket")
def test_a_missing_bucket_is_named(stack: Stack, proxy: PausingProxy) -> None:
    refused = stack.run("up", PULUMI_BACKEND_URL=f"s3://no-such-bucket-at-all/platform?{options(proxy.address)}")
    assert refused.returncode == 1
    assert "no-such-bucket-at-all" in refused.stdout
    assert "Traceback" not in refused.stdout
