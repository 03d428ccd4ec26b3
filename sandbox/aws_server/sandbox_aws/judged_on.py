"""Which resource a request is judged on, where MiniStack's own answer is not AWS's: one door for the services that say so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox_aws.patching import replace

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Asked:
    """A request, in the order in which MiniStack hands its parts over."""

    service: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    parameters: dict[str, Any]
    region: str
    account: str


def judged_on(service: str, find: Callable[[Asked, str], str | None]) -> None:
    """Judge a service's requests on what `find` says.

    Args:
        service: such as `kms`.
        find: gets the request and MiniStack's own answer; returns an ARN, or None to leave it at that answer.
    """

    def made(original: Any) -> Any:
        def extract(*parts: Any) -> str:
            asked, own = Asked(*parts), str(original(*parts))
            return (find(asked, own) if asked.service == service else None) or own

        return extract

    replace("core.iam_actions", "extract_resource_arn", made)
