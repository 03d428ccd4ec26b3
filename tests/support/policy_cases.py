"""What the tests of policies share: the program's own resources as the pack sees them, to be changed one at a time."""

from __future__ import annotations

import copy
import json
import tomllib
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import tomli_w

from config import foundation
from config import settings as platform
from policies.engine_messages import Seen
from policies.fields import ABSENT
from policies.rule import Finding, Rule, evaluate_resource
from policies.rules import RULES
from policies.stack import PackState, ResourceIndex, evaluate_stack
from policies.stack_run import StackRun
from runner_platform.check.shown import Shown, registered
from tests.support.program import parsed, raw, rehearsal_of, rehearsed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BY_ID = {each.id: each for each in RULES}


@cache
def surroundings(stack: str) -> StackRun:
    """Surroundings of a stack file, in a mock run."""
    return around(stack, raw(stack))


def around(stack: str, values: dict[str, Any], *, dry_run: bool = False) -> StackRun:
    """Surroundings of a configuration."""
    project = foundation.PROJECT if stack == foundation.STACK else platform.PROJECT
    return StackRun(settings=parsed(values, stack), stack=stack, project=project, dry_run=dry_run)


@cache
def program(stack: str) -> tuple[Seen, ...]:
    """What a stack's program registers, as the pack sees it."""
    return tuple(seen_of(registered(rehearsed(stack).registrations)))


def program_of(stack: str, values: dict[str, Any]) -> tuple[Seen, ...]:
    """What a stack's program registers with another configuration."""
    return tuple(seen_of(registered(rehearsal_of(stack, values).registrations)))


def seen_of(shown: Sequence[Shown]) -> list[Seen]:
    """Resources of the gate as resources of the pack."""
    providers = {each.urn: each for each in shown if each.type.startswith("pulumi:providers:")}
    return [
        Seen(
            urn=each.urn,
            type=each.type,
            name=each.name,
            inputs=each.inputs,
            outputs=each.outputs,
            provider=each.provider,
            provider_inputs=providers[each.provider].inputs if each.provider in providers else None,
            protect=each.protect,
        )
        for each in shown
    ]


def one(stack: str, name: str, token: str | None = None) -> Seen:
    """The resource of a logical name, and of a type where the name is not enough."""
    found = [each for each in program(stack) if each.name == name and token in {None, each.type}]
    assert len(found) == 1, f"{len(found)} resources are called {name!r}"
    return found[0]


def changed(resource: Seen, path: str, value: Any) -> Seen:
    """The resource with another input at a dotted path; ABSENT removes it, JSON text on the way is opened and closed again."""
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


def verdicts(rule: str, resource: Seen, stack: str = "prod", **options: Any) -> list[Finding]:
    """What a rule of resources says of one."""
    return evaluate_resource(BY_ID[rule], resource, surroundings(stack), configured(BY_ID[rule], options))


def whole(
    rule: str, resources: Iterable[Seen], stack: str = "prod", run: PackState | None = None, **options: Any
) -> list[Finding]:
    """What a rule of whole stacks says."""
    index = ResourceIndex(list(resources), surroundings(stack), run)
    return evaluate_stack(BY_ID[rule], index, configured(BY_ID[rule], options))


def configured(rule: Rule, options: dict[str, Any]) -> dict[str, Any]:
    """Thresholds over the rule's defaults."""
    return {name: options.get(name, option.default) for name, option in rule.options.items()}


def granting(name: str, action: str, resource: Any) -> Seen:
    """An inline policy of prod with one statement in place of its own."""
    document = {"Statement": [{"Effect": "Allow", "Action": action, "Resource": resource}]}
    return changed(one("prod", name), "policy", json.dumps(document))


def with_one(resource: Seen, stack: str = "prod") -> list[Seen]:
    """The program with one of its resources replaced, or with one more."""
    known = [each for each in program(stack) if each.urn != resource.urn]
    return [*known, resource]


def without(name: str, stack: str = "prod") -> list[Seen]:
    """The program without the resource of that logical name."""
    found = [each for each in program(stack) if each.name != name]
    assert len(found) < len(program(stack)), f"nothing is called {name!r}"
    return found


def all_verdicts(resource: Seen, stack: str = "prod") -> dict[str, list[Finding]]:
    """What all rules of resources say of one, by id; rules that say nothing are left out."""
    found = {each.id: verdicts(each.id, resource, stack) for each in RULES if each.of_resource is not None}
    return {rule: each for rule, each in found.items() if each}


def says(rule: str, resource: Seen, stack: str = "prod", **options: Any) -> list[str]:
    """Everything that a rule says when the program holds this resource instead of, or beside, its own; kind and text in one."""
    judge = verdicts if BY_ID[rule].of_resource is not None else _whole_with
    return [f"{each.kind}: {each.text}" for each in judge(rule, resource, stack, **options)]


def _whole_with(rule: str, resource: Seen, stack: str, **options: Any) -> list[Finding]:
    return whole(rule, with_one(resource, stack), stack, **options)


def violates(rule: str, resource: Seen, fragment: str, stack: str = "prod", **options: Any) -> None:
    """Assert that a rule finds a violation whose text holds a fragment."""
    found = says(rule, resource, stack, **options)
    assert any(each.startswith("VIOLATION") and fragment in each for each in found), f"{rule} said {found}"


def undecides(rule: str, resource: Seen, path: str, stack: str = "prod") -> None:
    """Assert that a rule says UNDECIDED of a field, and nothing else of this resource."""
    found = says(rule, resource, stack)
    assert f"UNDECIDED: {path}" in found, f"{rule} said {found}: an unknown value must not pass in silence"


def new(like: Seen, logical: str, token: str | None = None, /, **inputs: Any) -> Seen:
    """A resource that the program does not have, in the account of another."""
    token = token or like.type
    return Seen(
        urn=f"urn:pulumi:prod::runner-platform::{token}::{logical}",
        type=token,
        name=logical,
        inputs=inputs,
        provider=like.provider,
        provider_inputs=like.provider_inputs,
    )


def with_toml(release: Seen, path: str, value: Any) -> Seen:
    """A release with another setting of its one `[[runners]]`."""
    document = tomllib.loads(release.inputs["values"]["runners"]["config"])
    document["runners"][0] = _put(document["runners"][0], path.split("."), value)
    return changed(release, "values.runners.config", tomli_w.dumps(document))
