"""The stand-in for Pulumi's `gitlab` plugin: `gitlab:index/userRunner:UserRunner`, over GitLab's own API.

Owns the configuration, the API calls and the life of a runner. Leaves out every other type, since no program uses one.
It calls the GitLab at `baseUrl` or GITLAB_BASE_URL: the sandbox's stand-in or a real one.
https://www.pulumi.com/registry/packages/gitlab/api-docs/userrunner/ and https://docs.gitlab.com/api/runners/
"""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import requests

from runner_platform_sandbox.providers import wire
from runner_platform_sandbox.providers.schema import decode_config
from runner_platform_sandbox.providers.stand_in import (
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    PartialFailureError,
    Properties,
    ProviderError,
    StandIn,
    Target,
)
from runner_platform_sandbox.providers.validation import Failure

RUNNER: Final = "gitlab:index/userRunner:UserRunner"
DEFAULT_URL: Final = "https://gitlab.com/api/v4/"

_API_NAMES: Final = {
    "accessLevel": "access_level",
    "description": "description",
    "locked": "locked",
    "maintenanceNote": "maintenance_note",
    "maximumTimeout": "maximum_timeout",
    "paused": "paused",
    "tagLists": "tag_list",
    "untagged": "run_untagged",
}
"""Property to API parameter, for properties that can change in place."""
_FIXED: Final = {"runnerType": "runner_type", "groupId": "group_id", "projectId": "project_id"}
_COMPUTED: Final = (*_API_NAMES, "token")
_NOT_MODELLED: Final = ("clientCert", "clientKey", "configFile", "context", "enableAutoCiSupport")
_CHOICES: Final = {
    "runnerType": ("instance_type", "group_type", "project_type"),
    "accessLevel": ("not_protected", "ref_protected"),
}
_LEAST_TIMEOUT: Final = 600
_SECONDS: Final = 30.0


@dataclass
class Api:
    """GitLab's REST API with one access token."""

    url: str
    """Ends with a slash."""
    token: str = field(repr=False)
    verify: bool | str = True
    headers: dict[str, str] = field(default_factory=dict)
    retries: int = 3
    """Retries after a 429; other errors are not retried."""

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Return the JSON answer, or None for an empty answer and for a 404 to GET or DELETE.

        Raises:
            ProviderError: GitLab refused, or cannot be reached.
        """
        headers = {"Authorization": f"Bearer {self.token}", "User-Agent": "runner-platform-sandbox", **self.headers}
        for attempt in range(self.retries + 1):
            try:
                answer = requests.request(
                    method, self.url + path, json=body, headers=headers, timeout=_SECONDS, verify=self.verify
                )
            except requests.RequestException as error:
                raise ProviderError(f"GitLab at {self.url} cannot be reached: {type(error).__name__}") from error
            if answer.status_code != HTTPStatus.TOO_MANY_REQUESTS or attempt == self.retries:
                break
            time.sleep(float(answer.headers.get("Retry-After") or 2**attempt))
        if answer.status_code == HTTPStatus.NOT_FOUND and method in {"GET", "DELETE"}:
            return None
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise ProviderError(f"GitLab refused {method} {path}: {_words(answer)}{_hint(answer.status_code)}")
        return answer.json() if answer.content else None


def _words(answer: requests.Response) -> str:
    """Return GitLab's message; it never holds a token."""
    try:
        body = answer.json()
    except ValueError:
        return f"{answer.status_code} {answer.reason}"
    message = body.get("message") or body.get("error") or answer.reason
    if isinstance(message, dict):
        return "; ".join(f"{name} {' and '.join(reasons)}" for name, reasons in message.items())
    return str(message)


def _hint(status: int) -> str:
    if status == HTTPStatus.UNAUTHORIZED:
        return "; is GITLAB_TOKEN set, and still valid?"
    if status == HTTPStatus.FORBIDDEN:
        return "; group runners need the Owner role, project runners Maintainer, and the scopes create_runner, manage_runner"
    return ""


class GitLab(StandIn):
    """Stands in for Pulumi's `gitlab` plugin."""

    name = "gitlab"

    def __init__(self) -> None:
        super().__init__()
        self._api: Api | None = None

    def check_config(self, news: Properties) -> Properties:
        """Refuse properties that are unknown to the SDK or not modelled."""
        checked = super().check_config(news)
        config = decode_config(wire.reveal(news), self.sdk.provider())
        failures = [Failure(key, "is not modelled by the sandbox") for key in _NOT_MODELLED if config.get(key)]
        url = config.get("baseUrl")
        if isinstance(url, str) and not url.endswith("/"):
            failures.append(Failure("baseUrl", f"must end with a slash: {url}/"))
        if failures:
            raise InvalidInputsError(failures)
        return checked

    def configure(self, config: Properties) -> None:
        """Read address and token from the configuration or GITLAB_BASE_URL and GITLAB_TOKEN, and try them once."""
        token = config.get("token") or os.environ.get("GITLAB_TOKEN")
        if not token:
            raise ProviderError(
                "the gitlab provider has no token: set GITLAB_TOKEN (scopes create_runner and manage_runner)"
            )
        url = str(config.get("baseUrl") or os.environ.get("GITLAB_BASE_URL") or DEFAULT_URL)
        verify: bool | str = config.get("cacertFile") or not config.get("insecure", False)
        self._api = Api(
            url=url if url.endswith("/") else f"{url}/",
            token=str(token),
            verify=verify,
            headers=dict(config.get("headers") or {}),
            retries=int(config.get("retries", 3)),
        )
        early = config.get("earlyAuthCheck", os.environ.get("GITLAB_EARLY_AUTH_CHECK", "true"))
        if str(early).lower() != "false":
            self._api.call("GET", "user")

    @property
    def _calls(self) -> Api:
        if self._api is None:
            raise ProviderError("the gitlab provider was not configured")
        return self._api

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Check types, allowed values and properties that need each other."""
        _only_runners(target)
        inputs = super().check(target, news, olds, naming)
        failures = [
            Failure(name, f"is {inputs[name]!r}; use one of {', '.join(allowed)}")
            for name, allowed in _CHOICES.items()
            if name in inputs and inputs[name] is not wire.UNKNOWN and inputs[name] not in allowed
        ]
        for kind, needed in (("group_type", "groupId"), ("project_type", "projectId")):
            if inputs.get("runnerType") == kind and needed not in inputs:
                failures.append(Failure(needed, f"is required where runnerType is {kind}"))
        timeout = inputs.get("maximumTimeout")
        if isinstance(timeout, int) and timeout < _LEAST_TIMEOUT:
            failures.append(Failure("maximumTimeout", f"must be at least {_LEAST_TIMEOUT} (10 minutes), got {timeout}"))
        if failures:
            raise InvalidInputsError(failures)
        return inputs

    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        """Compare inputs; tags are a set. A changed group or project needs a new runner."""
        del target, olds, ignored
        changes = [key for key in sorted(old_inputs.keys() | news.keys()) if _form(old_inputs, key) != _form(news, key)]
        return Diff(changes=changes, replaces=[key for key in changes if key in _FIXED])

    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Create the runner; the outputs hold its token as a secret, because GitLab shows it only once."""
        if target.preview:
            return "", {**dict.fromkeys(_COMPUTED, wire.UNKNOWN), **inputs}
        created = self._calls.call("POST", "user/runners", _request(inputs, {**_API_NAMES, **_FIXED}))
        identifier, token = str(created["id"]), wire.Secret(created["token"])
        try:
            return identifier, _outputs(self._calls.call("GET", f"runners/{identifier}") or {}, inputs, token)
        except ProviderError as error:
            outputs = {**inputs, "token": token}
            reason = f"runner {identifier} was created, but cannot be read: {error}"
            raise PartialFailureError(identifier, outputs, inputs, reason) from error

    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Read the runner for a refresh or an import; an imported runner has no token."""
        _only_runners(target)
        runner = self._calls.call("GET", f"runners/{target.id}")
        if runner is None:
            return None
        token = wire.Secret(outputs["token"]) if outputs.get("token") else None
        live = _outputs(runner, inputs, token)
        keys = inputs.keys() or (live.keys() - {"token"})
        current_inputs = {key: live[key] for key in sorted(keys) if live.get(key) is not None}
        return Existing(id=target.id, inputs=current_inputs, outputs=live)

    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        """Change the runner in place; properties that the program no longer sets keep their values, as in GitLab."""
        del old_inputs
        token = wire.Secret(olds["token"]) if olds.get("token") else None
        if target.preview:
            return {**olds, **news} | ({"token": token} if token else {})
        runner = self._calls.call("PUT", f"runners/{target.id}", _request(news, _API_NAMES))
        return _outputs(runner, news, token)

    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Delete the runner; a runner that is already deleted is no error."""
        del outputs, inputs
        self._calls.call("DELETE", f"runners/{target.id}")


def _only_runners(target: Target) -> None:
    if target.token != RUNNER:
        raise ProviderError(f"{target.token} is not modelled by the gitlab stand-in, which knows {RUNNER} only")


def _form(properties: Properties, key: str) -> Any:
    """Return a property in comparable form."""
    value = properties.get(key)
    return sorted(value, key=str) if key == "tagLists" and isinstance(value, list) else value


def _request(inputs: Properties, names: dict[str, str]) -> dict[str, Any]:
    """Return the API's parameters; tags become text, separated by commas."""
    body = {names[key]: value for key, value in inputs.items() if key in names}
    if "tag_list" in body:
        body["tag_list"] = ",".join(body["tag_list"])
    return body


def _outputs(runner: dict[str, Any], inputs: Properties, token: wire.Secret | None) -> Properties:
    """Return the runner's outputs, with equal tags in the program's order."""
    live = {key: runner[name] for key, name in _API_NAMES.items() if runner.get(name) is not None}
    live["runnerType"] = runner.get("runner_type") or inputs.get("runnerType")
    groups, projects = runner.get("groups") or [], runner.get("projects") or []
    if groups:
        live["groupId"] = groups[0]["id"]
    if projects and live["runnerType"] == "project_type":
        project_ids = [item["id"] for item in projects]
        live["projectId"] = inputs["projectId"] if inputs.get("projectId") in project_ids else project_ids[0]
    if _form(live, "tagLists") == _form(inputs, "tagLists"):
        live["tagLists"] = inputs.get("tagLists")
    return {**live, "token": token} if token else live


if __name__ == "__main__":
    from runner_platform_sandbox.providers import stubs

    stubs.use_bare_packages()
    from runner_platform_sandbox.providers.server import serve

    serve(GitLab())
