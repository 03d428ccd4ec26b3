"""The operations of every resource type: check, compare, preview, and the steps around the API calls.

Owns the rules that the real plugin gets from Terraform's schemas. Leaves out the types (`handler` and its subclasses)
and the provider's configuration (`provider`).
"""

import json
from collections.abc import Sequence
from typing import Any

from runner_platform_sandbox.providers.aws.compare import differences, inputs_like, outputs_like
from runner_platform_sandbox.providers.aws.handler import Call, Handler, name_required, physical_name
from runner_platform_sandbox.providers.stand_in import (
    CancelledError,
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    PartialFailureError,
    Properties,
    ProviderError,
    Target,
)
from runner_platform_sandbox.providers.validation import DEFAULTS_KEY, Failure, validate
from runner_platform_sandbox.providers.wire import UNKNOWN, has_unknown


def check(
    handler: Handler, target: Target, news: Properties, olds: Properties, naming: Naming, account: Properties
) -> Properties:
    """Return the inputs with all defaults of the real plugin filled in.

    Args:
        handler: The type.
        target: The resource.
        news: Inputs of the program.
        olds: Previous checked inputs, empty for a new resource.
        naming: The engine's request for names.
        account: Defaults of the provider's configuration: `region`, and `tags` for every taggable resource.

    Raises:
        InvalidInputsError: Inputs are wrong; it lists all failures.
    """
    program_inputs = {key: _as_document(value) if key in handler.documents else value for key, value in news.items()}
    inputs, failures = validate(handler.type.inputs, program_inputs)
    failures += [
        Failure(name, "is a property that the sandbox's aws stand-in does not model for this type")
        for name in inputs
        if handler.modelled is not None and name not in handler.modelled | {"region", "tags"}
    ]
    inputs.pop(DEFAULTS_KEY, None)
    defaults: Properties = {key: value for key, value in handler.defaults.items() if key not in inputs}
    if handler.regional and "region" not in inputs:
        defaults["region"] = account["region"]
    if handler.taggable and account["tags"] and inputs.get("tags") is not UNKNOWN:
        inputs["tags"] = {**account["tags"], **inputs.get("tags", {})}
    defaults |= _name(handler, target, inputs, olds, naming)
    inputs |= defaults
    failures = failures or handler.check(inputs)
    if failures:
        raise InvalidInputsError(failures)
    return {**inputs, DEFAULTS_KEY: sorted(defaults)}


def diff(handler: Handler, olds: Properties, news: Properties, ignored: Sequence[str] = ()) -> Diff:
    """Compare outputs and checked inputs; only properties that a program can set count.

    The engine puts the old inputs of `ignored` paths into `news`. AWS may have changed such a property since then, so
    it does not count either.
    """
    settable = {key: value for key, value in olds.items() if key in handler.type.inputs}
    changes = [
        path
        for path in differences(handler.rules, news, settable)
        if not any(path == name or path.startswith(f"{name}.") for name in ignored)
    ]
    immutable = handler.immutable | {"region"}
    replaces = [path for path in changes if any(path == fixed or path.startswith(f"{fixed}.") for fixed in immutable)]
    return Diff(
        changes=changes,
        replaces=replaces,
        delete_before_replace=bool(replaces)
        and (handler.delete_before_replace or _keeps_its_name(handler, olds, news)),
    )


def preview_create(handler: Handler, inputs: Properties) -> Properties:
    """Return the outputs of a new resource that a preview can know."""
    outputs = {key: _copy(value) for key, value in inputs.items() if key != DEFAULTS_KEY}
    for path in sorted(handler.type.computed | handler.computed | _name_properties(handler)):
        parent, _, leaf = path.rpartition(".")
        place: Any = outputs
        for step in parent.split(".") if parent else []:
            place = place.get(step) if isinstance(place, dict) else None
        if isinstance(place, dict):
            place.setdefault(leaf, UNKNOWN)
    return _with_all_tags(handler, outputs)


def preview_update(handler: Handler, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
    """Return the outputs of a changed resource that a preview can know; values computed by AWS stay."""
    kept = {key: value for key, value in olds.items() if key in news or key not in old_inputs}
    outputs = _overlay(kept, {key: value for key, value in news.items() if key != DEFAULTS_KEY})
    changed = {path.partition(".")[0] for path in diff(handler, olds, news).changes}
    return _with_all_tags(handler, {**outputs, **dict.fromkeys(handler.recomputed(news, changed), UNKNOWN)})


def create(handler: Handler, call: Call, inputs: Properties) -> tuple[str, Properties]:
    """Create a resource. If a later step fails, the engine gets the existing resource with the error."""
    identifier = handler.create(call, inputs)
    try:
        handler.settle(call, identifier, inputs)
        outputs = _read(handler, call, identifier, inputs)
    except ProviderError as error:
        outputs_so_far = {key: value for key, value in inputs.items() if key != DEFAULTS_KEY}
        reason = str(error) if isinstance(error, CancelledError) else f"{identifier} was created, but: {error}"
        raise PartialFailureError(identifier, _with_all_tags(handler, outputs_so_far), inputs, reason) from error
    if outputs is None:
        raise ProviderError(f"{handler.token} {identifier} was created, but AWS does not return it right after")
    return identifier, outputs


def update(handler: Handler, call: Call, olds: Properties, news: Properties) -> Properties:
    """Change a resource, or complete one that an earlier run left incomplete."""
    changed = {path.partition(".")[0] for path in diff(handler, olds, news, call.target.ignored).changes}
    identifier = call.target.id
    handler.update(call, identifier, news, changed)
    handler.settle(call, identifier, news)
    outputs = _read(handler, call, identifier, news)
    if outputs is None:
        raise ProviderError(
            f"{handler.token} {identifier} no longer exists; `pulumi refresh` takes it out of the state"
        )
    return outputs


def read(handler: Handler, call: Call, identifier: str, inputs: Properties, outputs: Properties) -> Existing | None:
    """Return the current resource, in the form of the program's inputs."""
    if not inputs and not outputs:
        identifier, outputs = handler.import_id(call, identifier)
    current = _read(handler, call, identifier, outputs)
    if current is None:
        return None
    settable = {key: value for key, value in current.items() if key in handler.type.inputs}
    shaped = inputs_like(handler.rules, inputs or _required(handler, settable), settable)
    shaped.setdefault(DEFAULTS_KEY, [])
    return Existing(id=identifier, inputs=shaped, outputs=current)


def _read(handler: Handler, call: Call, identifier: str, previous: Properties) -> Properties | None:
    current = handler.read(call, identifier, previous)
    if current is None:
        return None
    for name in handler.kept:
        value = previous.get(name, handler.defaults.get(name))
        if value is not None:
            current[name] = value
    if handler.regional:
        current["region"] = call.region
    current = {key: value for key, value in current.items() if value is not None}
    shaped: Properties = outputs_like(handler.rules, previous, current)
    return _with_all_tags(handler, shaped)


def _name(handler: Handler, target: Target, inputs: Properties, olds: Properties, naming: Naming) -> Properties:
    rule = handler.naming
    if rule is None or inputs.get(rule.field) is not None or inputs.get(rule.prefix_field) is not None:
        return {}
    name = physical_name(rule, target.name, olds, naming)
    if name is None:
        raise name_required(rule)
    return {rule.field: name}


def _keeps_its_name(handler: Handler, olds: Properties, news: Properties) -> bool:
    """Tell whether a replacement would have the same name; automatic names change."""
    if handler.naming is None or handler.naming.field in news.get(DEFAULTS_KEY, ()):
        return False
    name = news.get(handler.naming.field)
    return name is not None and bool(name == olds.get(handler.naming.field))


def _name_properties(handler: Handler) -> set[str]:
    return {handler.naming.field} if handler.naming else set()


def _with_all_tags(handler: Handler, outputs: Properties) -> Properties:
    """Add `tagsAll`, which equals `tags`: default tags are merged in `check`, as in the real plugin."""
    if "tagsAll" in handler.type.outputs:
        return {**outputs, "tagsAll": outputs.get("tags") or {}}
    return outputs


def _required(handler: Handler, settable: Properties) -> Properties:
    """Return the least inputs of a program that imports the resource: required ones and the name."""
    required = {key for key, declared in handler.type.inputs.items() if declared.required} | _name_properties(handler)
    return {key: value for key, value in settable.items() if key in required}


def _as_document(value: Any) -> Any:
    """Return a document as text; programs may pass objects."""
    if isinstance(value, dict | list):
        return UNKNOWN if has_unknown(value) else json.dumps(value, sort_keys=True, separators=(",", ":"))
    return value


def _overlay(olds: Properties, news: Properties) -> Properties:
    merged = dict(olds)
    for key, value in news.items():
        both = isinstance(value, dict) and isinstance(olds.get(key), dict) and key != "tags"
        merged[key] = {**olds[key], **value} if both else value
    return merged


def _copy(value: Any) -> Any:
    return {key: _copy(item) for key, item in value.items()} if isinstance(value, dict) else value
