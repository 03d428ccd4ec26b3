"""Access to one AWS account: credentials, clients, and errors with a remedy.

Owns the botocore session of a configured provider. Leaves out the calls (handlers) and AWS's address: botocore reads it
from `AWS_ENDPOINT_URL` and its forms for services, so this module does not depend on the sandbox.
"""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

import botocore.session
from botocore import exceptions
from botocore.config import Config

from runner_platform_sandbox.providers.stand_in import ProviderError

# Report a server that is down within seconds; botocore retries throttled calls.
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
        """Keep the error code, such as `NoSuchEntity`, for the handlers."""
        self.code = code
        super().__init__(message)


class Session:
    """The AWS account and region of a provider's configuration."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Open the session from the provider's decoded configuration, without a call to AWS."""
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
        with self._lock:  # botocore cannot create clients in parallel
            if key not in self._clients:
                self._clients[key] = self._create(*key)
            return Client(self._clients[key], self)

    @property
    def identity(self) -> dict[str, str]:
        """Identity of the credentials: `Account`, `Arn`, `UserId`; read from AWS once."""
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
        """Describe account and profile for messages, without a call to AWS."""
        account = f"account {self._identity['Account']}" if self._identity else "an account not yet known"
        return f"{account}, profile {self.profile}" if self.profile else account

    def _create(self, service: str, region: str) -> Any:
        try:
            return self._session.create_client(service, region_name=region, config=_CLIENT_CONFIG, **self._keys)
        except exceptions.BotoCoreError as error:
            raise ProviderError(f"{service}: {explain(error)} ({self.describe()})") from error


class Client:
    """A botocore client with translated errors."""

    def __init__(self, client: Any, session: Session) -> None:
        """Wrap a botocore client."""
        self._client = client
        self._session = session

    def call(self, operation: str, **arguments: Any) -> Any:
        """Call `operation` (botocore's method name) without the arguments that are None.

        Raises:
            AwsError: AWS refused.
            ProviderError: There is no server or there are no credentials.
        """
        present = {name: value for name, value in arguments.items() if value is not None}
        answer = self._ask(operation, present, lambda: getattr(self._client, operation)(**present))
        if isinstance(answer, dict):
            answer.pop("ResponseMetadata", None)
        return answer

    def find(self, operation: str, missing: frozenset[str] | set[str], **arguments: Any) -> Any | None:
        """Call `operation`, and return None if AWS returns one of the `missing` error codes."""
        try:
            return self.call(operation, **arguments)
        except AwsError as error:
            if error.code in missing:
                return None
            raise

    def pages(self, operation: str, key: str, **arguments: Any) -> list[Any]:
        """Return the items under `key` of all pages of `operation`."""
        present = {name: value for name, value in arguments.items() if value is not None}
        if not self._client.can_paginate(operation):
            return list(self.call(operation, **present).get(key, []))
        pages = self._client.get_paginator(operation).paginate(**present)
        items: list[Any] = self._ask(operation, present, lambda: [item for page in pages for item in page.get(key, [])])
        return items

    def _ask(self, operation: str, present: Mapping[str, Any], action: Callable[[], Any]) -> Any:
        try:
            return action()
        except exceptions.ClientError as error:
            raise self._refused(error, present) from error
        except exceptions.BotoCoreError as error:
            name = f"{self._client.meta.service_model.service_name}:{operation}"
            raise ProviderError(f"{name}: {explain(error)} ({self._session.describe()})") from error

    def _refused(self, error: exceptions.ClientError, present: Mapping[str, Any]) -> AwsError:
        details = error.response.get("Error", {})
        code = str(details.get("Code", "")) or "no code"
        # The first call also fetches the credentials, and may fail there.
        assuming = error.operation_name.startswith("AssumeRole")
        service = "sts" if assuming else self._client.meta.service_model.service_name
        thing = next((f" on {value}" for name, value in present.items() if _identifies(name, value)), "")
        action = f"{service}:{error.operation_name}{thing}"
        text = f"{action} in {self._session.describe()}: {code}: {details.get('Message') or 'no message'}"
        return AwsError(code, text)


def _identifies(argument: str, value: Any) -> bool:
    return isinstance(value, str) and argument.lower().endswith(("name", "id", "arn", "bucket"))


def explain(error: exceptions.BotoCoreError) -> str:
    """Return in one sentence why AWS could not be asked, with the remedy."""
    if isinstance(error, exceptions.ConnectionError | exceptions.HTTPClientError):
        endpoint = error.kwargs.get("endpoint_url") or os.environ.get("AWS_ENDPOINT_URL") or "its endpoint"
        return f"the AWS server at {endpoint} does not answer; `runner-platform sandbox status` shows whether it runs"
    if isinstance(error, exceptions.ProfileNotFound):
        return missing_profile(str(error.kwargs.get("profile")))
    if isinstance(error, exceptions.NoCredentialsError | exceptions.PartialCredentialsError):
        return 'no credentials; give the provider a profile, or run `eval "$(runner-platform sandbox env)"` first'
    return str(error)


def missing_profile(profile: str) -> str:
    """Return the message about a missing profile: the file that lacks it, and the remedy."""
    place = os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")
    remedy = 'run `eval "$(runner-platform sandbox env)"` in this shell first'
    return f"the AWS profile {profile} does not exist in {place}; {remedy}"


def retrying(action: Callable[[], Any], codes: set[str], wait: Callable[[float], None], seconds: float) -> Any:
    """Repeat `action` while AWS returns one of `codes`, for at most about `seconds`.

    AWS is eventually consistent: EKS may not know a role that IAM already has, and an interface may outlive its owner.
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
