"""Checking, naming and previews of the aws stand-in: nothing of it asks AWS."""

from typing import Any

import pytest

from runner_platform_sandbox.providers import wire
from runner_platform_sandbox.providers.aws import crud
from runner_platform_sandbox.providers.aws.handler import AutoName, physical_name
from runner_platform_sandbox.providers.aws.provider import HANDLERS, AwsStandIn
from runner_platform_sandbox.providers.stand_in import InvalidInputsError, Naming, Properties, ProviderError, Target
from runner_platform_sandbox.providers.wire import UNKNOWN

ROLE, BUCKET, CLUSTER = "aws:iam/role:Role", "aws:s3/bucket:Bucket", "aws:eks/cluster:Cluster"
ACCOUNT: Properties = {"region": "eu-central-1", "tags": {"owner": "platform"}}
SEED = Naming(seed=b"plan")


def target(token: str, name: str = "thing", **more: Any) -> Target:
    return Target(urn=f"urn:pulumi:dev::p::{token}::{name}", token=token, name=name, **more)


def check(token: str, news: Properties, olds: Properties | None = None, wishes: Naming = SEED) -> Properties:
    return crud.check(HANDLERS[token], target(token), news, olds or {}, wishes, ACCOUNT)


def test_check_fills_in_what_the_real_plugin_fills_in() -> None:
    checked = check(ROLE, {"assumeRolePolicy": {"Version": "2012-10-17", "Statement": []}, "tags": {"a": "1"}})
    assert checked["assumeRolePolicy"] == '{"Statement":[],"Version":"2012-10-17"}', "documents become text"
    assert checked["tags"] == {"owner": "platform", "a": "1"}
    assert checked["maxSessionDuration"] == 3600
    assert checked["__defaults"] == ["forceDetachPolicies", "maxSessionDuration", "name", "path"]
    assert "region" not in checked, "IAM has none"
    assert check(BUCKET, {})["region"] == "eu-central-1"


def test_a_programs_tag_wins_over_a_default_tag() -> None:
    assert check(BUCKET, {"tags": {"owner": "me"}})["tags"] == {"owner": "me"}
    assert check(BUCKET, {"tags": UNKNOWN})["tags"] is UNKNOWN


def test_unknown_documents_and_names_stay_unknown() -> None:
    checked = check(ROLE, {"assumeRolePolicy": {"Statement": [{"Resource": UNKNOWN}]}, "name": UNKNOWN})
    assert checked["assumeRolePolicy"] is UNKNOWN
    assert checked["name"] is UNKNOWN


def test_made_up_names_are_reproducible_kept_and_legal() -> None:
    first = check(BUCKET, {})["bucket"]
    assert first == check(BUCKET, {})["bucket"], "the same seed gives the same name"
    assert first != check(BUCKET, {}, wishes=Naming(seed=b"another"))["bucket"]
    kept = check(BUCKET, {}, {"bucket": "thing-1234567", "__defaults": ["bucket"]})
    assert kept["bucket"] == "thing-1234567"
    fresh = check(BUCKET, {}, {"bucket": "by-hand", "__defaults": []})
    assert fresh["bucket"] != "by-hand", "a name that the program no longer gives is not kept"


@pytest.mark.parametrize(
    ("rule", "wishes", "expected"),
    [
        (AutoName(), Naming(seed=b"s", proposed="mine"), "mine"),
        (AutoName(lower=True), Naming(seed=b"s", proposed="Mine"), "mine"),
        (AutoName(prefix="alias/"), Naming(seed=b"s", proposed="mine"), "alias/mine"),
        (AutoName(lower=True), Naming(seed=b"s", proposed="Mine", enforced=True), "Mine"),
        (AutoName(), Naming(seed=b"s", disabled=True), None),
    ],
)
def test_autonaming_configuration_is_obeyed(rule: AutoName, wishes: Naming, expected: str | None) -> None:
    assert physical_name(rule, "thing", {}, wishes) == expected


def test_long_logical_names_are_cut_to_what_aws_takes() -> None:
    name = physical_name(AutoName(longest=64), "x" * 100, {}, SEED)
    assert name is not None
    assert len(name) == 64
    assert name[-8] == "-"


def test_a_missing_name_is_refused_while_autonaming_is_disabled() -> None:
    with pytest.raises(InvalidInputsError, match="autonaming is disabled"):
        check(BUCKET, {}, wishes=Naming(seed=b"s", disabled=True))


def test_a_preview_knows_inputs_and_names_everything_else_unknown() -> None:
    config = {"subnetIds": ["a"], "endpointPrivateAccess": True}
    checked = check(CLUSTER, {"roleArn": UNKNOWN, "vpcConfig": config})
    outputs = crud.preview_create(HANDLERS[CLUSTER], checked)
    assert outputs["vpcConfig"]["subnetIds"] == ["a"]
    assert outputs["vpcConfig"]["vpcId"] is UNKNOWN
    assert outputs["identities"] is UNKNOWN
    assert outputs["tagsAll"] == {"owner": "platform"}
    assert outputs["name"] == checked["name"]
    assert "__defaults" not in outputs
    assert not wire.has_unknown(checked["vpcConfig"]), "the inputs themselves are untouched"


def test_a_preview_of_an_update_keeps_what_aws_computed() -> None:
    olds = {"arn": "arn:1", "description": "d", "name": "n", "vpcConfig": {"vpcId": "v", "subnetIds": ["a"]}}
    old_inputs = {"description": "d", "name": "n", "vpcConfig": {"subnetIds": ["a"]}}
    news = {"name": "n", "vpcConfig": {"subnetIds": ["b"]}}
    outputs = crud.preview_update(HANDLERS[CLUSTER], olds, old_inputs, news)
    assert outputs["arn"] == "arn:1"
    assert outputs["vpcConfig"] == {"vpcId": "v", "subnetIds": ["b"]}
    assert "description" not in outputs


PARAMETER = "aws:ssm/parameter:Parameter"
STORED: Properties = {"arn": "arn:1", "name": "/a", "type": "SecureString", "value": "old", "version": 1}


def test_a_preview_of_an_update_names_the_outputs_that_get_another_value() -> None:
    old_inputs = {"name": "/a", "type": "SecureString", "value": "old"}
    outputs = crud.preview_update(HANDLERS[PARAMETER], STORED, old_inputs, {**old_inputs, "value": "new"})
    assert outputs["version"] is UNKNOWN
    tagged = crud.preview_update(HANDLERS[PARAMETER], STORED, old_inputs, {**old_inputs, "tags": {"a": "1"}})
    assert tagged["version"] == 1


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [((), ["tags.a", "value"]), (("value",), ["tags.a"]), (("tags",), ["value"]), (("tags.a", "value"), [])],
)
def test_a_property_that_the_program_ignores_does_not_differ(ignored: tuple[str, ...], expected: list[str]) -> None:
    olds = {**STORED, "tags": {"a": "changed outside"}}
    news = {"name": "/a", "type": "SecureString", "value": "new", "tags": {"a": "1"}}
    assert crud.diff(HANDLERS[PARAMETER], olds, news, ignored).changes == expected


def test_default_tags_go_to_types_with_tags_of_their_own() -> None:
    assert check(PARAMETER, {"type": "String", "value": "v"})["tags"] == {"owner": "platform"}
    strategy = {"clusterName": "c", "capacityProviders": ["FARGATE"]}
    assert "tags" not in check("aws:ecs/clusterCapacityProviders:ClusterCapacityProviders", strategy)


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"type": "SecureString", "insecureValue": "v"}, "insecureValue would be readable in the state"),
        ({"type": "String"}, "exactly one of value, insecureValue must be set; got none"),
    ],
)
def test_a_parameter_has_one_value_and_a_secure_one_is_secret(inputs: Properties, words: str) -> None:
    with pytest.raises(InvalidInputsError, match=words):
        check(PARAMETER, inputs)


def test_a_task_definition_takes_a_list_of_containers() -> None:
    with pytest.raises(InvalidInputsError, match="must be a JSON list of container definitions"):
        check("aws:ecs/taskDefinition:TaskDefinition", {"family": "f", "containerDefinitions": '{"name": "a"}'})


def test_every_problem_of_the_inputs_is_reported_at_once() -> None:
    with pytest.raises(InvalidInputsError) as error:
        check(CLUSTER, {"roleArm": "r", "vpcConfig": {"subnets": []}, "outpostConfig": {}})
    paths = {failure.path for failure in error.value.failures}
    assert {"roleArm", "roleArn", "vpcConfig.subnets", "vpcConfig.subnetIds", "outpostConfig"} <= paths


@pytest.mark.parametrize("token", sorted(HANDLERS))
def test_previews_take_unknown_values_everywhere(token: str) -> None:
    handler = HANDLERS[token]
    unknown_inputs = {
        name: UNKNOWN for name in handler.type.inputs if handler.modelled is None or name in handler.modelled
    }
    inputs = {name: value for name, value in unknown_inputs.items() if handler.type.inputs[name].required}
    try:
        checked = check(token, inputs)
    except InvalidInputsError as error:
        assert "must be set" in str(error) or "is required" in str(error)  # noqa: PT017 - either is right
        return
    outputs = crud.preview_create(handler, checked)
    assert handler.type.computed <= outputs.keys() | {"tagsAll"}


def test_a_provider_without_a_known_account_previews_and_refuses_functions() -> None:
    provider = AwsStandIn()
    provider.configure({"profile": UNKNOWN, "region": "eu-central-1"})
    checked = provider.check(target(BUCKET), {}, {}, SEED)
    assert checked["region"] is UNKNOWN
    assert provider.create(target(BUCKET, preview=True), checked)[1]["arn"] is UNKNOWN
    with pytest.raises(ProviderError, match="known only after the deployment"):
        provider.invoke("aws:index/getCallerIdentity:getCallerIdentity", {})


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"assumeRoles": '[{"roleArn": "r"}]'}, "assumeRoles .* use a profile instead"),
        ({"alowedAccountIds": '["1"]'}, "did you mean 'allowedAccountIds'"),
        ({"allowedAccountIds": '"1"'}, "allowedAccountIds must be a list"),
    ],
)
def test_configuration_that_the_stand_in_cannot_honour_is_refused(config: Properties, words: str) -> None:
    with pytest.raises(InvalidInputsError, match=words):
        AwsStandIn().check_config(config)


def test_a_missing_profile_says_where_it_was_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere/config")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere/credentials")
    with pytest.raises(ProviderError, match=r"profile absent does not exist in /nowhere/config; .*sandbox env"):
        AwsStandIn().configure({"profile": "absent", "region": "eu-central-1"})


def test_a_server_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    config = {"region": "eu-central-1", "accessKey": "111111111111", "secretKey": "any"}
    with pytest.raises(ProviderError, match=r"http://127.0.0.1:9.* does not answer; .*sandbox status"):
        AwsStandIn().configure(config)
