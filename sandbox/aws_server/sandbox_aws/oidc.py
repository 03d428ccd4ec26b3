"""OpenID Connect providers of IAM: made over https only, updated and tagged.

MiniStack makes, reads and deletes them; it takes http, and has no operation that changes one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from ministack.services import iam

from sandbox_aws.answers import query_error, query_result
from sandbox_aws.patching import handlers, wrap

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox_aws.answers import Answer

_CLIENTS, _THUMBPRINTS = 100, 5


def install() -> None:
    """Add the missing operations."""
    table = handlers("services.iam", "_IAM_HANDLERS")
    wrap(table, "CreateOpenIDConnectProvider", _only_https)
    wrap(table, "GetOpenIDConnectProvider", _without_scheme)
    for operation, change in {
        "AddClientIDToOpenIDConnectProvider": _add_client,
        "RemoveClientIDFromOpenIDConnectProvider": _remove_client,
        "UpdateOpenIDConnectProviderThumbprint": _set_thumbprints,
        "TagOpenIDConnectProvider": _tag,
        "UntagOpenIDConnectProvider": _untag,
        "ListOpenIDConnectProviderTags": _list_tags,
    }.items():
        table[operation] = _on_provider(operation, change)


def _only_https(original: Any) -> Any:
    def create(parameters: dict[str, Any]) -> Answer:
        url = iam._p(parameters, "Url")
        if not url.startswith("https://"):
            return query_error(400, "ValidationError", f"Invalid Open ID Connect Provider URL: {url}", "iam")
        if len(_members(parameters, "ClientIDList")) > _CLIENTS:
            return query_error(
                409, "LimitExceeded", "Cannot exceed quota for ClientIdsPerOpenIdConnectProvider: 100", "iam"
            )
        answer: Answer = original(parameters)
        return answer

    return create


def _without_scheme(original: Any) -> Any:
    def get(parameters: dict[str, Any]) -> Answer:
        status, headers, body = original(parameters)
        return status, headers, body.replace(b"<Url>https://", b"<Url>")

    return get


def _on_provider(operation: str, change: Callable[[dict[str, Any], dict[str, Any]], str]) -> Any:
    """Return a handler that finds the provider and answers with what `change` returns."""

    def handle(parameters: dict[str, Any]) -> Answer:
        arn = iam._p(parameters, "OpenIDConnectProviderArn")
        provider = iam._oidc_providers.get(arn)
        if provider is None:
            return query_error(404, "NoSuchEntity", f"OpenIDConnect Provider not found for arn {arn}", "iam")
        try:
            return query_result(operation, change(provider, parameters))
        except ValueError as error:
            return query_error(400, "InvalidInput", str(error), "iam")

    return handle


def _add_client(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    client = iam._p(parameters, "ClientID")
    if client not in provider["ClientIDList"]:
        provider["ClientIDList"].append(client)
    return ""


def _remove_client(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    client = iam._p(parameters, "ClientID")
    provider["ClientIDList"] = [one for one in provider["ClientIDList"] if one != client]
    return ""


def _set_thumbprints(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    given = _members(parameters, "ThumbprintList")
    if len(given) > _THUMBPRINTS:
        raise ValueError(f"Thumbprint list must contain fewer than {_THUMBPRINTS + 1} entries.")
    provider["ThumbprintList"] = given
    return ""


def _tag(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    tags = {tag["Key"]: tag for tag in [*provider.get("Tags", []), *iam._extract_tags(parameters)]}
    provider["Tags"] = list(tags.values())
    return ""


def _untag(provider: dict[str, Any], parameters: dict[str, Any]) -> str:
    gone = iam._extract_tag_keys(parameters)
    provider["Tags"] = [tag for tag in provider.get("Tags", []) if tag["Key"] not in gone]
    return ""


def _list_tags(provider: dict[str, Any], _parameters: dict[str, Any]) -> str:
    members = "".join(
        f"<member><Key>{escape(tag['Key'])}</Key><Value>{escape(tag['Value'])}</Value></member>"
        for tag in provider.get("Tags", [])
    )
    return f"<Tags>{members}</Tags><IsTruncated>false</IsTruncated>"


def _members(parameters: dict[str, Any], name: str) -> list[str]:
    """Return a list parameter of the query protocol."""
    found: list[str] = []
    while value := iam._p(parameters, f"{name}.member.{len(found) + 1}"):
        found.append(value)
    return found
