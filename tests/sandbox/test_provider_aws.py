"""Every type of the aws stand-in, through its whole life, against the sandbox's AWS server. No engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox.providers.aws.handlers import HANDLERS
from sandbox.providers.aws.provider import AwsStandIn
from sandbox.providers.schema import package
from sandbox.providers.wire import has_unknown
from tests.sandbox.aws_cases import CICD, REGION, Cloud
from tests.sandbox.provider_aws_cases import CASES, Case
from tests.sandbox.provider_aws_world import ControlPlanes, World
from tests.sandbox.provider_driver import Driver

pytestmark = pytest.mark.sandbox
pytest_plugins = ["tests.sandbox.aws_fixture"]
DEFAULT_TAGS = {"platform:stack": "test"}


@pytest.fixture(scope="module")
def world(aws: Cloud) -> Iterator[World]:
    planes = ControlPlanes(aws)
    planes.start()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        patch.setenv("AWS_ENDPOINT_URL", aws.deployer)
        patch.setenv("AWS_CONFIG_FILE", str(aws.paths.root / "no-such-config"))
        patch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(aws.paths.root / "no-such-credentials"))
        made = World(aws)
        _ = made.cluster, made.other_role_arn
        client = made.client("eks")
        client.create_access_entry(clusterName=made.cluster, principalArn=made.other_role_arn)
        yield made
    planes.stop()


def stand_in(**config: Any) -> AwsStandIn:
    provider = AwsStandIn()
    provider.configure({"accessKey": CICD, "secretKey": "any", "region": REGION, **config})
    return provider


@pytest.fixture(scope="module")
def provider(world: World) -> AwsStandIn:
    return stand_in(allowedAccountIds=[CICD], defaultTags={"tags": DEFAULT_TAGS})


def test_there_is_a_case_for_every_type() -> None:
    assert {case.token for case in CASES} == set(HANDLERS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.token.rpartition(":")[2])
def test_a_resource_lives_as_with_the_real_plugin(case: Case, provider: AwsStandIn, world: World) -> None:
    driver, name = Driver(provider), f"case-{case.token.rpartition(':')[2].lower()}"
    inputs = case.inputs(world)
    _, promised = driver.preview(case.token, name, inputs)
    driver.up(case.token, name, inputs)
    assert_promise_kept(promised, driver.states[name].outputs)
    assert_known_to_sdk(case.token, driver.states[name].outputs)
    assert_steady(driver, case.token, name, inputs)
    assert_importable(provider, case, driver.states[name].id, case.import_id(driver.states[name]), inputs)
    identifier = driver.states[name].id
    if case.change is not None:
        inputs = {**inputs, **case.change(world)}
        diff = driver.up(case.token, name, inputs)
        assert diff is not None
        assert diff.changes, "the change must show"
        assert not diff.replaces, f"changed in place, but {diff.replaces} replace"
        assert driver.states[name].id == identifier
        assert_steady(driver, case.token, name, inputs)
    if case.replace is not None:
        inputs = {**inputs, **case.replace(world)}
        diff = driver.up(case.token, name, inputs)
        assert diff is not None
        assert diff.replaces
        assert_steady(driver, case.token, name, inputs)
    state = driver.states[name]
    driver.destroy(case.token, name)
    driver.states[name] = state
    if not case.leaves:
        assert driver.refresh(case.token, name) is None, "nothing may be left"
        driver.states[name] = state
    driver.destroy(case.token, name)  # what is gone is no error


def assert_steady(driver: Driver, token: str, name: str, inputs: dict[str, Any]) -> None:
    """Neither a second `up` nor a refresh finds anything to do."""
    before = driver.states[name]
    diff, _ = driver.preview(token, name, inputs)
    assert diff is not None
    assert not diff.changes, "a second up must change nothing"
    assert driver.refresh(token, name) is not None
    after = driver.states[name]
    assert after.outputs == before.outputs
    assert after.inputs == before.inputs, "a refresh must leave the inputs in the program's form"
    diff, _ = driver.preview(token, name, inputs)
    assert diff is not None
    assert not diff.changes


def assert_promise_kept(promised: dict[str, Any], outputs: dict[str, Any]) -> None:
    """What a preview said about an output must be true; what it did not mention must not exist."""
    for key, value in outputs.items():
        if value in (None, "", [], {}, False, 0):
            continue
        assert key in promised, f"the preview said that {key} is nothing"
        if not has_unknown(promised[key]):
            assert promised[key] == value, key


def assert_known_to_sdk(token: str, outputs: dict[str, Any]) -> None:
    kind = package("aws").resource(token)
    assert outputs.keys() <= kind.outputs
    settable = {key: value for key, value in outputs.items() if key in kind.inputs}
    _, failures = package("aws").check_resource(token, settable)
    assert not failures, "outputs must have the SDK's types"


def assert_importable(provider: AwsStandIn, case: Case, identifier: str, given: str, inputs: dict[str, Any]) -> None:
    driver = Driver(provider)
    found = driver.import_(case.token, "imported", given)
    assert found is not None
    assert found.id == identifier
    news = driver.check(case.token, "imported", {**inputs, **_fixed_name(case, found.inputs)})
    target = driver.target(case.token, "imported")
    diff = provider.diff(target, found.outputs, found.inputs, news, [])
    assert set(diff.changes) <= case.kept_inputs, "an import of what the program says must not change it"


def _fixed_name(case: Case, found: dict[str, Any]) -> dict[str, Any]:
    """An imported resource keeps its name, so a program that imports one names it."""
    rule = HANDLERS[case.token].naming
    return {} if rule is None else {rule.field: found[rule.field]} if rule.field in found else {}
