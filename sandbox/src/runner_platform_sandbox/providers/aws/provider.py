"""The aws stand-in: its configuration, and the way from the engine's operations to handlers.

Owns what `aws.Provider` means: which account, which region, which tags. Leaves out the resource types (`handlers` lists
them) and what all of them share (`lifecycle`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from typing_extensions import override

from runner_platform_sandbox.providers import validation, wire
from runner_platform_sandbox.providers.aws import lifecycle
from runner_platform_sandbox.providers.aws.handlers import FUNCTIONS, HANDLERS
from runner_platform_sandbox.providers.aws.resource import Call, Handler
from runner_platform_sandbox.providers.aws.session import Session
from runner_platform_sandbox.providers.base import (
    ENGINE_KEYS,
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    Properties,
    ProviderError,
    StandIn,
    Target,
)
from runner_platform_sandbox.providers.schema import UnknownTokenError, decode_config
from runner_platform_sandbox.providers.validation import Failure

_MODELLED: Final = frozenset(
    {"profile", "region", "allowedAccountIds", "forbiddenAccountIds", "defaultTags", "accessKey", "secretKey", "token"}
)
# They concern checks and endpoints that the sandbox does not have; leaving them out changes nothing.
_HARMLESS: Final = frozenset(
    {
        "skipCredentialsValidation",
        "skipMetadataApiCheck",
        "skipRegionValidation",
        "skipRequestingAccountId",
        "userAgents",
        "maxRetries",
        "retryMode",
    }
)


class AwsStandIn(StandIn):
    """Stands in for pulumi-resource-aws."""

    name = "aws"

    def __init__(self) -> None:
        super().__init__()
        self._session: Session | None = None
        self._default_tags: dict[str, str] = {}

    @override
    def check_config(self, news: Properties) -> Properties:
        decoded = decode_config(wire.reveal(super().check_config(news)), self.sdk.provider())
        failures = [
            Failure(
                name, "is a provider property that the sandbox's aws stand-in does not model; use a profile instead"
            )
            for name in sorted(decoded.keys() - _MODELLED - _HARMLESS - ENGINE_KEYS)
        ]
        if failures:
            raise InvalidInputsError(failures)
        return news

    @override
    def configure(self, config: Properties) -> None:
        if wire.has_unknown(config):
            return  # a preview that cannot know the account yet; resources still preview, functions say why they cannot
        session = Session(config)
        account = session.account
        allowed, forbidden = config.get("allowedAccountIds") or [], config.get("forbiddenAccountIds") or []
        if (allowed and account not in allowed) or account in forbidden:
            rule = f"allowed: {', '.join(allowed)}" if allowed else f"forbidden: {', '.join(forbidden)}"
            source = f"profile {session.profile}" if session.profile else "the credentials of the environment"
            raise ProviderError(
                f"{source} leads to account {account} as {session.identity['Arn']}, but the provider's account ids are "
                f"{rule}. Correct the account id in the configuration or the role in the AWS profile"
            )
        self._session = session
        self._default_tags = dict((config.get("defaultTags") or {}).get("tags") or {})

    @override
    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        region = self._session.region if self._session else wire.UNKNOWN
        account = {"region": region, "tags": self._default_tags}
        return lifecycle.check(_handler(target.token), target, news, olds, naming, account)

    @override
    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        del old_inputs, ignored  # the engine has put the old values in place of ignored ones
        return lifecycle.diff(_handler(target.token), olds, news)

    @override
    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        handler = _handler(target.token)
        if target.preview:
            return "", lifecycle.preview_create(handler, inputs)
        return lifecycle.create(handler, self._call(target, inputs), inputs)

    @override
    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        identifier, _, region = target.id.partition("@")  # `id@region` imports from another region than the provider's
        known = outputs or inputs
        call = self._call(target, {"region": region or known.get("region")})
        return lifecycle.read(_handler(target.token), call, identifier, inputs, known)

    @override
    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        handler = _handler(target.token)
        if target.preview:
            return lifecycle.preview_update(handler, olds, old_inputs, news)
        return lifecycle.update(handler, self._call(target, news), olds, news)

    @override
    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        _handler(target.token).delete(self._call(target, outputs), target.id, {**inputs, **outputs})

    @override
    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        function = FUNCTIONS.get(token)
        if function is None:
            raise ProviderError(_not_modelled("function", token, FUNCTIONS))
        try:
            checked, failures = validation.validate(self.sdk.function(token), arguments)
        except UnknownTokenError as error:
            raise ProviderError(str(error)) from error
        if failures:
            raise InvalidInputsError(failures)
        target = Target(urn="", token=token, name=token)
        return function(self._call(target, checked), checked)

    def _call(self, target: Target, inputs: Mapping[str, Any]) -> Call:
        if self._session is None:
            raise ProviderError(
                f"{target.token} needs the account of its provider, whose configuration is not known before the deployment"
            )
        region = inputs.get("region") or self._session.region
        return Call(session=self._session, stand_in=self, target=target, region=region)


def _handler(token: str) -> Handler:
    handler = HANDLERS.get(token)
    if handler is None:
        raise ProviderError(_not_modelled("type", token, HANDLERS))
    return handler


def _not_modelled(what: str, token: str, known: Mapping[str, Any]) -> str:
    names = ", ".join(sorted(name.removeprefix("aws:").rpartition(":")[0] for name in known))
    return f"the sandbox's aws stand-in does not model {what} {token}; it knows {names}"
