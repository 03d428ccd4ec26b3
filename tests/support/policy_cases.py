"""Helpers for tests of policies: the program's own resources as the pack reads them, to be changed one at a time."""

from __future__ import annotations

import copy
import json
import tomllib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import tomli_w

from access.resource import Resource
from config import foundation
from config import settings as platform
from policies.engine_messages import AnalyzedResources, resource_of, stack_resources
from policies.fields import ABSENT
from policies.rule import Finding, Rule, evaluate_resource
from policies.rules import RULES
from policies.stack import PackState, ResourceIndex, evaluate_stack
from policies.stack_run import StackRun
from runner_platform.check.policy_pack import requests
from tests.support.program import mock_run, mock_run_of, parsed, raw

if TYPE_CHECKING:
    from collections.abc import Iterable


BY_ID = {rule.id: rule for rule in RULES}


@cache
def run_of(stack: str) -> StackRun:
    """A mock run of a stack with the settings of its file."""
    return run_with(stack, raw(stack))


def run_with(stack: str, values: dict[str, Any], *, dry_run: bool = False) -> StackRun:
    """A mock run of a stack with other settings."""
    project = foundation.PROJECT if stack == foundation.STACK else platform.PROJECT
    return StackRun(settings=parsed(values, stack), stack=stack, project=project, dry_run=dry_run)


@cache
def resources_of(stack: str) -> tuple[Resource, ...]:
    """The resources of a stack's program, as the pack reads them."""
    return read_by_pack(mock_run(stack).resources)


def resources_with(stack: str, values: dict[str, Any]) -> tuple[Resource, ...]:
    """The resources of a stack's program with other settings."""
    return read_by_pack(mock_run_of(stack, values).resources)


def read_by_pack(resources: Iterable[Resource]) -> tuple[Resource, ...]:
    """Send resources of a mock run as the engine does, and read the messages as the pack does."""
    analyze, analyze_stack = requests(list(resources))
    earlier = AnalyzedResources()
    for request in analyze:
        earlier.remember(resource_of(request, earlier))
    return tuple(stack_resources(analyze_stack, earlier))


def resource_named(stack: str, name: str, token: str | None = None) -> Resource:
    """The resource with a logical name, and with a type where the name is not enough."""
    named = [r for r in resources_of(stack) if r.name == name and token in {None, r.type}]
    assert len(named) == 1, f"{len(named)} resources are called {name!r}"
    return named[0]


def with_input(resource: Resource, path: str, value: Any) -> Resource:
    """The resource with another input at a dotted path; ABSENT removes it, JSON text on the way is decoded and encoded again."""
    return replace(resource, inputs=_put(copy.deepcopy(dict(resource.inputs)), path.split("."), value))


def _put(container: Any, path: list[str], value: Any) -> Any:
    if isinstance(container, str):
        return json.dumps(_put(json.loads(container), path, value))
    key: Any = int(path[0]) if isinstance(container, list) else path[0]
    if len(path) > 1:
        container[key] = _put(
            container.get(key, {}) if isinstance(container, dict) else container[key], path[1:], value
        )
    elif value is ABSENT:
        del container[key]
    else:
        container[key] = value
    return container


def findings_on(rule: str, resource: Resource, stack: str = "prod", **options: Any) -> list[Finding]:
    """The findings of a rule of resources on one resource."""
    return evaluate_resource(BY_ID[rule], resource, run_of(stack), options_with(BY_ID[rule], options))


def findings_on_stack(
    rule: str, resources: Iterable[Resource], stack: str = "prod", pack_state: PackState | None = None, **options: Any
) -> list[Finding]:
    """The findings of a rule of whole stacks."""
    index = ResourceIndex(list(resources), run_of(stack), pack_state)
    return evaluate_stack(BY_ID[rule], index, options_with(BY_ID[rule], options))


def options_with(rule: Rule, options: dict[str, Any]) -> dict[str, Any]:
    """Options of a rule, with the defaults of all others."""
    return {name: options.get(name, option.default) for name, option in rule.options.items()}


def granting(name: str, action: str, resource: Any) -> Resource:
    """An inline policy of prod with one statement in place of its own."""
    document = {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    return with_input(resource_named("prod", name), "policy", json.dumps(document))


def stack_with(resource: Resource, stack: str = "prod") -> list[Resource]:
    """The program with one of its resources replaced, or with one more."""
    return [*(other for other in resources_of(stack) if other.urn != resource.urn), resource]


def stack_without(name: str, stack: str = "prod") -> list[Resource]:
    """The program without the resource of a logical name."""
    remaining = [resource for resource in resources_of(stack) if resource.name != name]
    assert len(remaining) < len(resources_of(stack)), f"no resource is called {name!r}"
    return remaining


def all_findings(resource: Resource, stack: str = "prod") -> dict[str, list[Finding]]:
    """The findings of all rules of resources on one resource, by rule; rules without findings are left out."""
    by_rule = {rule.id: findings_on(rule.id, resource, stack) for rule in RULES if rule.of_resource is not None}
    return {rule: findings for rule, findings in by_rule.items() if findings}


def report(rule: str, resource: Resource, stack: str = "prod", **options: Any) -> list[str]:
    """Kind and text of every finding of a rule when the program has this resource, in place of its own or in addition."""
    if BY_ID[rule].of_resource is not None:
        findings = findings_on(rule, resource, stack, **options)
    else:
        findings = findings_on_stack(rule, stack_with(resource, stack), stack, **options)
    return [f"{finding.kind}: {finding.text}" for finding in findings]


def assert_violation(rule: str, resource: Resource, fragment: str, stack: str = "prod", **options: Any) -> None:
    """Assert that a rule reports a violation whose text contains a fragment."""
    texts = report(rule, resource, stack, **options)
    assert any(text.startswith("VIOLATION") and fragment in text for text in texts), f"{rule} reported {texts}"


def assert_undecided(rule: str, resource: Resource, path: str, stack: str = "prod") -> None:
    """Assert that a rule reports UNDECIDED for a field."""
    texts = report(rule, resource, stack)
    assert f"UNDECIDED: {path}" in texts, f"{rule} reported {texts}: an unknown value must not pass in silence"


def new_resource(like: Resource, logical: str, token: str | None = None, /, **inputs: Any) -> Resource:
    """A resource that the program does not have, in the account of another."""
    token = token or like.type
    return Resource(
        urn=f"urn:pulumi:prod::runner-platform::{token}::{logical}",
        type=token,
        name=logical,
        inputs=inputs,
        provider=like.provider,
        provider_inputs=like.provider_inputs,
    )


def with_toml(release: Resource, path: str, value: Any) -> Resource:
    """A release with another setting of its one `[[runners]]`."""
    document = tomllib.loads(release.inputs["values"]["runners"]["config"])
    document["runners"][0] = _put(document["runners"][0], path.split("."), value)
    return with_input(release, "values.runners.config", tomli_w.dumps(document))
