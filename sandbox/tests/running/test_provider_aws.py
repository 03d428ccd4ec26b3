"""Every type of the aws stand-in, through its whole life, against the sandbox's AWS server. No engine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from runner_platform_sandbox.providers.aws.provider import HANDLERS
from runner_platform_sandbox.providers.schema import package
from runner_platform_sandbox.providers.wire import has_unknown
from sandbox.tests.support import provider_aws_cases, provider_aws_machine_cases, provider_aws_network_cases
from sandbox.tests.support.provider_aws_case import Case, of
from sandbox.tests.support.provider_driver import Driver
from tests.support.aws_cases import CICD

if TYPE_CHECKING:
    from runner_platform_sandbox.providers.aws.provider import AwsStandIn
    from sandbox.tests.support.provider_aws_account import Account

pytestmark = pytest.mark.sandbox
pytest_plugins = ["sandbox.tests.support.aws_fixture", "sandbox.tests.support.provider_aws_fixture"]
CASES = [*provider_aws_cases.CASES, *provider_aws_machine_cases.CASES, *provider_aws_network_cases.CASES]
DEFAULT_TAGS = {"platform:stack": "test"}


@pytest.fixture(scope="module")
def provider(account: Account) -> AwsStandIn:
    return account.stand_in(allowedAccountIds=[CICD], defaultTags={"tags": DEFAULT_TAGS})


def test_there_is_a_case_for_every_type() -> None:
    assert {case.token for case in CASES} == set(HANDLERS)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.token.rpartition(":")[2])
def test_a_resource_lives_as_with_the_real_plugin(case: Case, provider: AwsStandIn, account: Account) -> None:
    driver, name = Driver(provider), f"case-{case.token.rpartition(':')[2].lower()}"
    inputs = of(account, case.inputs)
    _, promised = driver.preview(case.token, name, inputs)
    driver.up(case.token, name, inputs)
    assert_promise_kept(promised, driver.states[name].outputs)
    assert_known_to_sdk(case.token, driver.states[name].outputs)
    assert_steady(driver, case.token, name, inputs)
    assert_importable(provider, case, driver.states[name].id, case.import_id(driver.states[name]), inputs)
    identifier = driver.states[name].id
    if case.change is not None:
        inputs = {**inputs, **of(account, case.change)}
        diff = driver.up(case.token, name, inputs)
        assert diff is not None
        assert diff.changes, "the change must show"
        assert not diff.replaces, f"changed in place, but {diff.replaces} replace"
        assert driver.states[name].id == identifier
        assert_steady(driver, case.token, name, inputs)
    if case.replace is not None:
        inputs = {**inputs, **of(account, case.replace)}
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


def assert_importable(
    provider: AwsStandIn, case: Case, identifier: str, import_id: str, inputs: dict[str, Any]
) -> None:
    driver = Driver(provider)
    existing = driver.import_(case.token, "imported", import_id)
    assert existing is not None
    assert existing.id == identifier
    news = driver.check(case.token, "imported", {**inputs, **_fixed_name(case, existing.inputs)})
    target = driver.target(case.token, "imported")
    diff = provider.diff(target, existing.outputs, existing.inputs, news, [])
    assert set(diff.changes) <= case.kept_inputs, "an import of what the program says must not change it"


def _fixed_name(case: Case, existing: dict[str, Any]) -> dict[str, Any]:
    """An imported resource keeps its name, so a program that imports one names it."""
    rule = HANDLERS[case.token].naming
    return {} if rule is None else {rule.field: existing[rule.field]} if rule.field in existing else {}
