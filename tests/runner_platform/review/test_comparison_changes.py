"""Changes of resources: matched by URN, secrets masked, replaced only if the inputs alone force it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from access.resource import Resource
from runner_platform.reports.change import STATEFUL, Counts, Kind, counts
from runner_platform.review.comparison import OTHER_PROVIDER, PROTECTED, RETAINED, UNPROTECTED, changes
from runner_platform.review.property_diff import FIXED, forces_replacement
from runner_platform_sandbox.providers.aws.provider import HANDLERS
from tests.support.program import mock_run

BUCKET, ROLE, SECRET = "aws:s3/bucket:Bucket", "aws:iam/role:Role", "kubernetes:core/v1:Secret"


def resource(token: str, name: str = "it", /, *, options: dict[str, Any] | None = None, **inputs: Any) -> Resource:
    provider = "urn:p::cicd" if token.startswith("aws:") else ""
    urn = f"urn:{token}::{name}"
    return Resource(urn=urn, type=token, name=name, provider=provider, inputs=inputs, **(options or {}))


def only_change(old: list[Resource], new: list[Resource]) -> Any:
    (change,) = changes(old, new)
    return change


def test_equal_resources_are_no_change_whatever_their_order() -> None:
    both = [resource(BUCKET, "a", bucket="a"), resource(ROLE, "b", name="b")]
    assert changes(both, both[::-1]) == []


def test_a_resource_of_one_side_is_created_or_deleted() -> None:
    result = changes([resource(ROLE, "gone", name="x")], [resource(ROLE, "new", name="y")])
    assert [(change.kind, change.name) for change in result] == [(Kind.DELETE, "gone"), (Kind.CREATE, "new")]


def test_a_replacement_names_its_cause_and_the_loss() -> None:
    change = only_change([resource(BUCKET, bucket="a")], [resource(BUCKET, bucket="b")])
    assert (change.kind, change.reasons, change.loss) == (Kind.REPLACE, ("bucket",), STATEFUL[BUCKET])


def test_a_change_of_tags_is_an_update() -> None:
    change = only_change(
        [resource(BUCKET, bucket="a", tags={"x": "1"})], [resource(BUCKET, bucket="a", tags={"x": "2"})]
    )
    assert (change.kind, change.loss) == (Kind.UPDATE, None)


def test_an_alias_makes_a_rename_and_not_a_loss() -> None:
    old = resource(BUCKET, "before", bucket="a")
    change = only_change([old], [resource(BUCKET, "after", bucket="a", options={"aliases": [old.urn]})])
    assert (change.kind, change.warnings) == (Kind.MOVE, (f"was {old.urn}",))
    assert counts([change]) == Counts()


def test_deleting_a_protected_or_retained_resource_is_a_warning() -> None:
    change = only_change([resource(BUCKET, bucket="a", options={"protect": True, "retain_on_delete": True})], [])
    assert change.warnings == (PROTECTED, RETAINED)


def test_losing_protection_is_a_change_of_its_own() -> None:
    change = only_change([resource(BUCKET, options={"protect": True})], [resource(BUCKET)])
    assert change.warnings == (UNPROTECTED,)
    assert [(difference.path, difference.old, difference.new) for difference in change.properties] == [
        ("(protect)", "true", "false")
    ]


def test_options_that_an_older_command_line_did_not_list_are_no_change() -> None:
    old = resource(BUCKET, bucket="a", options={"protect": None, "retain_on_delete": None})
    assert changes([old], [resource(BUCKET, bucket="a", options={"protect": True})]) == []


def test_a_move_to_another_account_is_a_warning() -> None:
    moved = replace(resource(BUCKET), provider="urn:p::dev")
    change = only_change([resource(BUCKET)], [moved])
    assert (change.kind, change.warnings) == (Kind.UPDATE, (OTHER_PROVIDER,))


def test_another_id_of_the_same_provider_is_no_change() -> None:
    assert changes([resource(BUCKET)], [replace(resource(BUCKET), provider_id="other")]) == []


@pytest.mark.parametrize("key", ["data", "stringData"])
def test_values_of_a_secret_are_never_shown(key: str) -> None:
    old, new = (resource(SECRET, **{key: {"runner-token": text}}) for text in ("glrt-old", "glrt-new"))
    for result in (changes([], [new]), changes([old], []), changes([old], [resource(SECRET, **{key: {"other": "x"}})])):
        assert "glrt-" not in repr(result)
    assert changes([old], [new]) == [], "a changed secret value is not compared, and the footer of the report says so"


def test_changes_are_ordered_by_loss_then_deletion_then_the_others() -> None:
    old = [resource(ROLE, "r", name="x"), resource(BUCKET, "b"), resource(ROLE, "u", tags={})]
    new = [resource(ROLE, "u", tags={"a": "b"}), resource(ROLE, "c", name="y")]
    assert [change.name for change in changes(old, new)] == ["b", "r", "u", "c"]


def test_components_and_providers_are_not_counted() -> None:
    new = [resource("runnerplatform:index:Network"), resource("pulumi:providers:aws"), resource(ROLE, name="x")]
    assert counts(changes([], new)) == Counts(create=1)


@pytest.mark.parametrize("token", sorted(set(FIXED) & set(HANDLERS)))
def test_replacing_properties_agree_with_the_stand_in_of_the_provider(token: str) -> None:
    modelled = HANDLERS[token].immutable
    assert FIXED[token] <= modelled, "a property that the provider changes in place must not be listed as replacing"


def test_every_aws_and_gitlab_type_of_the_programs_has_its_fixed_properties() -> None:
    used = {
        registered.type
        for stack in ("dev", "foundation")
        for registered in mock_run(stack).resources
        if registered.custom
    }
    in_place = {
        "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "its VPC's id alone, which no mock run knows",
        "aws:ec2/flowLog:FlowLog": "all of it, but it holds nothing",
        "aws:ec2/internetGateway:InternetGateway": "its VPC's id alone, which no mock run knows",
    }
    aws = {token for token in used if token.startswith(("aws:", "gitlab:"))}
    assert aws <= set(FIXED) | set(in_place)


def test_a_path_covers_everything_below_it_and_nothing_beside_it() -> None:
    assert forces_replacement("aws:eks/cluster:Cluster", "encryptionConfig.provider.keyArn")
    assert forces_replacement("kubernetes:core/v1:Namespace", "metadata.name")
    assert not forces_replacement("aws:eks/cluster:Cluster", "encryptionConfigs")
    assert not forces_replacement("kubernetes:core/v1:Namespace", "metadata.namesake")
    assert not forces_replacement("vendor:index:Unknown", "name")
