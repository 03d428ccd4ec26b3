import pytest

from runner_platform_sandbox.providers import schema, wire
from runner_platform_sandbox.providers.schema import UnknownTokenError, package
from runner_platform_sandbox.providers.validation import Kind

ROLE = "aws:iam/role:Role"
LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"


def reasons(token: str, inputs: dict[str, object]) -> dict[str, str]:
    _, failures = package(token.partition(":")[0]).check_resource(token, inputs)
    return {failure.path: failure.reason for failure in failures}


def test_inputs_outputs_and_required_properties_come_from_the_sdk() -> None:
    role = package("aws").resource(ROLE)
    assert role.inputs["assumeRolePolicy"].required
    assert not role.inputs["path"].required
    assert role.inputs["maxSessionDuration"].type.kind is Kind.INTEGER
    assert role.computed == {"arn", "createDate", "tagsAll", "uniqueId"}


def test_a_type_whose_argument_class_is_named_differently_is_found() -> None:
    assert "versioningConfiguration" in package("aws").resource("aws:s3/bucketVersioning:BucketVersioning").inputs


@pytest.mark.parametrize(
    ("token", "property_name"),
    [
        ("gitlab:index/userRunner:UserRunner", "runnerType"),
        ("kubernetes:helm.sh/v3:Release", "chart"),
        ("kubernetes:core/v1:Namespace", "metadata"),
    ],
)
def test_other_packages_layouts_are_read_too(token: str, property_name: str) -> None:
    assert property_name in package(token.partition(":")[0]).resource(token).inputs


def test_a_misspelt_property_is_refused_with_the_likely_name() -> None:
    failures = reasons(ROLE, {"assumeRolePolicy": "{}", "tag": {}})
    assert failures == {"tag": "is not a property of this type; did you mean 'tags'?"}


def test_a_misspelt_nested_property_is_refused_with_its_path() -> None:
    failures = reasons(
        LIFECYCLE, {"bucket": "b", "rules": [{"id": "x", "status": "Enabled", "expiration": {"day": 3}}]}
    )
    assert list(failures) == ["rules[0].expiration.day"]
    assert "'days'" in failures["rules[0].expiration.day"]


def test_a_missing_required_property_is_named_also_inside_lists() -> None:
    assert "bucket" in reasons(LIFECYCLE, {})
    assert "rules[0].status" in reasons(LIFECYCLE, {"bucket": "b", "rules": [{"id": "x"}]})


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"assumeRolePolicy": ["x"]}, "assumeRolePolicy"),
        ({"assumeRolePolicy": "{}", "maxSessionDuration": "an hour"}, "maxSessionDuration"),
        ({"assumeRolePolicy": "{}", "maxSessionDuration": 0.5}, "maxSessionDuration"),
        ({"assumeRolePolicy": "{}", "forceDetachPolicies": "yes"}, "forceDetachPolicies"),
        ({"assumeRolePolicy": "{}", "tags": ["a"]}, "tags"),
        ({"assumeRolePolicy": "{}", "managedPolicyArns": "arn"}, "managedPolicyArns"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(inputs: dict[str, object], path: str) -> None:
    assert list(reasons(ROLE, inputs)) == [path]


def test_text_with_a_number_or_boolean_is_converted_as_in_the_real_plugin() -> None:
    inputs = {"assumeRolePolicy": "{}", "maxSessionDuration": "3600", "forceDetachPolicies": "true", "tags": {"a": 1}}
    checked, failures = package("aws").check_resource(ROLE, inputs)
    assert not failures
    assert checked == {
        "assumeRolePolicy": "{}",
        "maxSessionDuration": 3600,
        "forceDetachPolicies": True,
        "tags": {"a": "1"},
    }


def test_unknown_values_and_secrets_fit_any_property() -> None:
    inputs = {"assumeRolePolicy": wire.UNKNOWN, "description": wire.Secret("x"), "tags": {"a": wire.UNKNOWN}}
    checked, failures = package("aws").check_resource(ROLE, inputs)
    assert not failures
    assert checked == inputs


def test_nulls_count_as_absent() -> None:
    checked, failures = package("aws").check_resource(ROLE, {"assumeRolePolicy": "{}", "path": None})
    assert (checked, failures) == ({"assumeRolePolicy": "{}"}, [])


def test_a_misspelt_key_of_a_policy_document_object_is_refused() -> None:
    failures = reasons(
        ROLE, {"assumeRolePolicy": {"Version": "2012-10-17", "Statement": [{"Efect": "Allow", "Action": "x"}]}}
    )
    assert "assumeRolePolicy.Statement[0].Efect" in failures


def test_function_arguments_come_from_the_sdk() -> None:
    arguments = package("aws").function("aws:ec2/getSubnets:getSubnets")
    assert set(arguments) == {"filters", "region", "tags"}


@pytest.mark.parametrize(
    "token", ["aws:iam/rolle:Rolle", "aws:iam/role:Rolle", "gitlab:index/userRunner:UserRunner", "aws", "aws:iam/role"]
)
def test_a_token_that_the_sdk_does_not_have_is_an_error(token: str) -> None:
    with pytest.raises(UnknownTokenError):
        package("aws").resource(token)


def test_a_function_that_the_sdk_does_not_have_is_an_error() -> None:
    with pytest.raises(UnknownTokenError):
        package("aws").function("aws:ec2/getSubnetz:getSubnetz")


def test_the_providers_own_configuration_is_known() -> None:
    assert {"profile", "region", "allowedAccountIds", "defaultTags"} <= package("aws").provider().keys()


def test_nested_configuration_is_decoded_from_json() -> None:
    config = {"allowedAccountIds": '["111111111111"]', "profile": "[odd", "insecure": "true", "region": "eu-central-1"}
    decoded = schema.decode_config(config, package("aws").provider())
    assert decoded == {
        "allowedAccountIds": ["111111111111"],
        "profile": "[odd",
        "insecure": True,
        "region": "eu-central-1",
    }


def test_a_package_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(UnknownTokenError, match="not installed"):
        schema.Package("azure")
