"""IAM OIDC providers.

Owns `OpenIdConnectProvider`. Leaves out fetching a thumbprint from the issuer, which AWS does on its own side.
"""

from typing_extensions import override

from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.aws.session import AwsError
from runner_platform_sandbox.providers.aws.tags import as_list, as_map, changes
from runner_platform_sandbox.providers.base import Properties, ProviderError
from runner_platform_sandbox.providers.validation import Failure

_GONE = {"NoSuchEntity"}


class OpenIdConnectProvider(Handler):
    """An identity provider. Its id is its ARN."""

    token = "aws:iam/openIdConnectProvider:OpenIdConnectProvider"  # noqa: S105 - a type token
    immutable = frozenset({"url"})
    computed = frozenset({"thumbprintLists"})
    sets = frozenset({"clientIdLists"})

    @override
    def check(self, inputs: Properties) -> list[Failure]:
        url = inputs.get("url")
        if isinstance(url, str) and not url.startswith("https://"):
            return [Failure("url", f"must start with https://, got {url}")]
        return []

    @override
    def create(self, call: Call, inputs: Properties) -> str:
        try:
            answer = call.client("iam").call(
                "create_open_id_connect_provider",
                Url=inputs["url"],
                ClientIDList=inputs["clientIdLists"],
                ThumbprintList=inputs.get("thumbprintLists"),
                Tags=as_list(inputs.get("tags")),
            )
        except AwsError as error:
            if error.code != "EntityAlreadyExists":
                raise
            raise ProviderError(f"{error}. An account has one provider for each URL; import it instead") from error
        return str(answer["OpenIDConnectProviderArn"])

    @override
    def read(self, call: Call, identifier: str, known: Properties) -> Properties | None:
        answer = call.client("iam").find("get_open_id_connect_provider", _GONE, OpenIDConnectProviderArn=identifier)
        if answer is None:
            return None
        return {
            "arn": identifier,
            # AWS answers without the scheme, and the real plugin keeps the URL with it.
            "url": f"https://{answer['Url'].removeprefix('https://')}",
            "clientIdLists": answer.get("ClientIDList", []),
            "thumbprintLists": answer.get("ThumbprintList", []),
            "tags": as_map(answer.get("Tags")),
        }

    @override
    def update(self, call: Call, identifier: str, news: Properties, changed: set[str]) -> None:
        iam = call.client("iam")
        present = iam.call("get_open_id_connect_provider", OpenIDConnectProviderArn=identifier)
        wanted = set(news["clientIdLists"])
        for client in sorted(wanted - set(present.get("ClientIDList", []))):
            iam.call("add_client_id_to_open_id_connect_provider", OpenIDConnectProviderArn=identifier, ClientID=client)
        for client in sorted(set(present.get("ClientIDList", [])) - wanted):
            iam.call(
                "remove_client_id_from_open_id_connect_provider", OpenIDConnectProviderArn=identifier, ClientID=client
            )
        if "thumbprintLists" in changed and news.get("thumbprintLists"):
            iam.call(
                "update_open_id_connect_provider_thumbprint",
                OpenIDConnectProviderArn=identifier,
                ThumbprintList=news["thumbprintLists"],
            )
        put, remove = changes(as_map(present.get("Tags")), news.get("tags"))
        if remove:
            iam.call("untag_open_id_connect_provider", OpenIDConnectProviderArn=identifier, TagKeys=remove)
        if put:
            iam.call("tag_open_id_connect_provider", OpenIDConnectProviderArn=identifier, Tags=as_list(put))

    @override
    def delete(self, call: Call, identifier: str, outputs: Properties) -> None:
        call.client("iam").find("delete_open_id_connect_provider", _GONE, OpenIDConnectProviderArn=identifier)
