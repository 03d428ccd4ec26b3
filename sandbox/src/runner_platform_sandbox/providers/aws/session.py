"""Access to one AWS account: credentials, clients, and errors that a person can act on.

Owns the botocore session behind a configured provider. Leaves out which calls are made (the handlers) and where AWS is:
botocore takes that from `AWS_ENDPOINT_URL` and its service forms, so nothing here knows the sandbox.
"""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import botocore.session
from botocore import exceptions
from botocore.config import Config

from runner_platform_sandbox.providers.stand_in import ProviderError

# A server that is down shall be named within seconds; throttling is the server's answer and is retried by botocore.
_CLIENT_CONFIG: Final = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "max_attempts": 3},
    max_pool_connections=32,
    user_agent_extra="aws-stand-in",
)


class AwsError(ProviderError):
    """An API call that AWS refused."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the error code, such as `NoSuchEntity`, for handlers to decide on."""
        self.code = code
        super().__init__(message)


class Session:
    """The account that a provider's configuration leads to."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Open the session. Nothing is called yet; `config` is the provider's configuration, decoded."""
        self.profile: str | None = config.get("profile")
        self._lock = threading.Lock()
        self._clients: dict[tuple[str, str], Any] = {}
        self._identity: dict[str, str] | None = None
        try:
            self._session = botocore.session.Session(profile=self.profile)
            region = config.get("region") or self._session.get_config_variable("region")
        except exceptions.ProfileNotFound as error:
            raise ProviderError(missing_profile(str(self.profile))) from error
        if not region:
            raise ProviderError("the aws provider has no region: give it `region`, or set AWS_REGION")
        self.region: str = region
        self._keys = {
            "aws_access_key_id": config.get("accessKey"),
            "aws_secret_access_key": config.get("secretKey"),
            "aws_session_token": config.get("token"),
        }

    def client(self, service: str, region: str | None = None) -> "Client":
        """Return the client of `service` (botocore's name) in `region`, by default the provider's."""
        key = (service, region or self.region)
        with self._lock:  # creating clients is not safe in threads
            if key not in self._clients:
                self._clients[key] = self._create(*key)
            return Client(self._clients[key], self)

    @property
    def identity(self) -> dict[str, str]:
        """Who the credentials are: `Account`, `Arn`, `UserId`. Asks AWS once."""
        if self._identity is None:
            self._identity = self.client("sts").call("get_caller_identity")
        return self._identity

    @property
    def account(self) -> str:
        """The 12-digit account id."""
        return self.identity["Account"]

    @property
    def partition(self) -> str:
        """`aws`, `aws-cn` or `aws-us-gov`."""
        return self.identity["Arn"].split(":")[1]

    def describe(self) -> str:
        """Say whose credentials these are, for messages; never asks AWS."""
        account = f"account {self._identity['Account']}" if self._identity else "an account not yet known"
        return f"{account}, profile {self.profile}" if self.profile else account

    def _create(self, service: str, region: str) -> Any:
        try:
            return self._session.create_client(service, region_name=region, config=_CLIENT_CONFIG, **self._keys)
        except exceptions.BotoCoreError as error:
            raise ProviderError(f"{service}: {explain(error)} ({self.describe()})") from error


class Client:
    """One service, with errors translated."""

    def __init__(self, client: Any, session: Session) -> None:
        """Wrap a botocore client."""
        self._client = client
        self._session = session

    def call(self, operation: str, **arguments: Any) -> Any:
        """Call `operation` (botocore's method name). Arguments that are None are left out.

        Raises:
            AwsError: if AWS refuses.
            ProviderError: if it cannot be asked: no server, no credentials.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        answer = self._ask(operation, given, lambda: getattr(self._client, operation)(**given))
        if isinstance(answer, dict):
            answer.pop("ResponseMetadata", None)
        return answer

    def find(self, operation: str, missing: frozenset[str] | set[str], **arguments: Any) -> Any | None:
        """Call `operation`; None if AWS answers with one of the `missing` error codes."""
        try:
            return self.call(operation, **arguments)
        except AwsError as error:
            if error.code in missing:
                return None
            raise

    def pages(self, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return the items under `key` of all pages of `operation`."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if not self._client.can_paginate(operation):
            return list(self.call(operation, **given).get(key, []))
        pages = self._client.get_paginator(operation).paginate(**given)
        found: list[Any] = self._ask(operation, given, lambda: [item for page in pages for item in page.get(key, [])])
        return found

    def _ask(self, operation: str, given: Mapping[str, Any], action: Callable[[], Any]) -> Any:
        try:
            return action()
        except exceptions.ClientError as error:
            raise self._refused(error, given) from error
        except exceptions.BotoCoreError as error:
            name = f"{self._client.meta.service_model.service_name}:{operation}"
            raise ProviderError(f"{name}: {explain(error)} ({self._session.describe()})") from error

    def _refused(self, error: exceptions.ClientError, given: Mapping[str, Any]) -> AwsError:
        details = error.response.get("Error", {})
        code = str(details.get("Code", "")) or "no code"
        # The first call also fetches the credentials, and fails in their name.
        assuming = error.operation_name.startswith("AssumeRole")
        service = "sts" if assuming else self._client.meta.service_model.service_name
        thing = next((f" on {value}" for name, value in given.items() if _identifies(name, value)), "")
        action = f"{service}:{error.operation_name}{thing}"
        text = f"{action} in {self._session.describe()}: {code}: {details.get('Message') or 'no message'}"
        return AwsError(code, text)


def _identifies(argument: str, value: Any) -> bool:
    return isinstance(value, str) and argument.lower().endswith(("name", "id", "arn", "bucket"))


def explain(error: exceptions.BotoCoreError) -> str:
    """Say in one sentence why AWS could not be asked, and what to do."""
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        endpoint = error.kwargs.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL") or "its endpoint"
        return f"the AWS server at {endpoint} does not answer; `runner-platform sandbox status` shows whether it runs"
    if isinstance(error, exceptions.ProfileNotFound):
        return missing_profile(str(error.kwargs.get("profile")))
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return 'no credentials; give the provider a profile, or run `eval "$(runner-platform sandbox env)"` first'
    return str(error)


def missing_profile(profile: str) -> str:
    """Say that a profile is missing, where it was looked for, and where the sandbox's profiles come from."""
    place = os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")
    remedy = 'run `eval "$(runner-platform sandbox env)"` in this shell first'
    return f"the AWS profile {profile} does not exist in {place}; {remedy}"


def retrying(action: Callable[[], Any], codes: set[str], wait: Callable[[float], None], seconds: float) -> Any:
    """Run `action` until AWS no longer answers with one of `codes`, for at most about `seconds`.

    AWS is eventually consistent: a role exists for IAM before it exists for EKS, an interface outlives its owner.
    """
    waited, pause = 0.0, 0.25
    while True:
        try:
            return action()
        except AwsError as error:
            if error.code not in codes or waited >= seconds:
                raise
        wait(pause)
        waited += pause
        pause = min(pause * 2, 5.0)
