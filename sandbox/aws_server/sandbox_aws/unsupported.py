"""Says at once that a service is not part of the sandbox.

MiniStack learns whether an unknown name is a service by loading every service model there is: 2.8 s and 390 MB, for
good. Its answer carries no text. Here the answer names the service, in the error format of the request.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ministack import app

from sandbox_aws.answers import json_error, query_error
from sandbox_aws.patching import handlers, replace

if TYPE_CHECKING:
    from sandbox_aws.answers import Answer


def install() -> None:
    """Take every name in a signature for a service, and away those that hand out credentials to whoever asks.

    The services that MiniStack has were recognised before the name is looked up.
    """
    table = handlers("app", "SERVICE_HANDLERS")
    for metadata in ("imds", "ecs-metadata"):
        del table[metadata]
    replace("core.router", "_is_aws_service_name", lambda _original: lambda _name: True)


def refusal(service: str, headers: dict[str, str]) -> Answer | None:
    """Return the error for a service that MiniStack does not have, else None."""
    if service in app.SERVICE_HANDLERS or service == "unknown_query":
        return None
    message = f"The sandbox has no {service}: it serves only the services that the platform uses."
    if "x-www-form-urlencoded" in headers.get("content-type", ""):
        return query_error(400, "InvalidAction", message)
    return json_error(400, "UnknownOperationException", message)
