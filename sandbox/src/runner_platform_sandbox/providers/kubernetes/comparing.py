"""Whether an update would change anything, and whether it needs a new object.

Owns the engine's diff: first the inputs, then, where the API server can be asked, its own answer by dry run, so that a
quantity written differently is no change and a field that cannot change is known before anything is touched.
"""

from typing import Any, Final

from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnknownKindError,
)
from runner_platform_sandbox.providers.base import Diff, Properties, ProviderError, Target
from runner_platform_sandbox.providers.kubernetes import applying, differences, naming
from runner_platform_sandbox.providers.kubernetes.access import Access
from runner_platform_sandbox.providers.kubernetes.kinds import Kind, of_object, replacing
from runner_platform_sandbox.providers.wire import has_unknown

_FIXED_FIELD: Final = ("immutable", "may not change once set", "updates to")
"""What the API server says about a field that cannot change."""
_CHANGES: Final = ""
"""In an answer of `_ask`: something changes, in place."""


def compare(access: Access, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Diff:
    """Compare the state of an object with its new inputs.

    Raises:
        ProviderError: The API server would refuse the update.
    """
    changes = differences.changed(old_inputs, news)
    if not changes:
        return Diff()
    kind = of_object(news)
    replaces = replacing(kind, changes, mutable=_mutable(access, kind))
    same_place = naming.place(old_inputs) == naming.place(news)
    if same_place and not has_unknown(news) and not access.problem():
        answer = _ask(access, target, olds, news)
        if answer == []:
            return Diff()
        if answer is not None:
            replaces = sorted({*replaces, *answer} - {_CHANGES})
    return Diff(changes=changes, replaces=replaces, delete_before_replace=bool(replaces) and same_place)


def _ask(access: Access, target: Target, olds: Properties, news: Properties) -> list[str] | None:
    """Return the fields that only a new object can have, `_CHANGES` where the update can be done in place.

    Nothing if nothing would change; None where the API server cannot be asked.
    """
    try:
        live = applying.find(access, news)
        if live is None:
            return None
        would = applying.apply(access, target, news, olds, dry_run=True)
    except InvalidError as error:
        fixed = [str(cause.get("field")) for cause in error.causes if _fixed(cause)]
        if fixed:
            return fixed
        raise ProviderError(f"{applying.called(news)} would be refused: {error.message}") from error
    except ForbiddenError as error:
        if applying.lacks_permission(error):
            return None
        raise ProviderError(f"{applying.called(news)} would be refused: {error.message}") from error
    except (NotFoundError, UnknownKindError, *applying.UNAVAILABLE):
        return None
    except ApiError as error:
        raise ProviderError(f"{applying.called(news)} would be refused: {error.message}") from error
    return [_CHANGES] if differences.changed(differences.wanted(live), differences.wanted(would)) else []


def _fixed(cause: dict[str, Any]) -> bool:
    return any(words in str(cause.get("message")) for words in _FIXED_FIELD)


def _mutable(access: Access, kind: Kind) -> bool:
    return access.settings.secret_mutable if kind.kind == "Secret" else access.settings.config_map_mutable
