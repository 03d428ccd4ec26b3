"""GitLab runners that a killed deployment made and never wrote down.

Owns finding such a runner by what was asked for, and deleting it. GitLab shows a runner's token once, in the answer to its creation: when
that answer is lost nobody can ever use the runner, and taking it into the state would leave a class without a token. So the honest
recovery is to delete it and have it made again. A runner that some manager uses is left alone: somebody knows its token, so it is not
the one that was lost. https://docs.gitlab.com/api/runners/
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

import gitlab
import gitlab.exceptions
import requests

from runner_platform.errors import FailedError

if TYPE_CHECKING:
    from collections.abc import Mapping

RUNNER: Final = "gitlab:index/userRunner:UserRunner"
DEFAULT_URL: Final = "https://gitlab.com"
_IDENTITY: Final = {"description": "description", "runnerType": "runner_type"}
"""Input to the API's word, of what tells one runner of the program from another; the rest may have been edited since."""
_OWNERS: Final = {"group_type": ("groups", "groupId"), "project_type": ("projects", "projectId")}


def find(url: str | None, inputs: Mapping[str, Any]) -> list[str]:
    """Ids of the runners that look like the wanted one and that no manager uses.

    Args:
        url: base URL of the resource's provider, where the program names one.
        inputs: inputs of the resource in wire names. Without a description there is nothing to know it by.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    owner = _OWNERS.get(str(inputs.get("runnerType")))
    if owner is None or not inputs.get("description"):
        return []
    kind, key = owner
    api = _api(url)
    try:
        listed = api.http_list(f"/{kind}/{int(inputs[key])}/runners", {"type": inputs["runnerType"]}, get_all=True)
        likely = [each["id"] for each in listed if each.get("description") == inputs["description"]]
        return [str(each) for each in likely if _fits(api, each, inputs, kind, int(inputs[key]))]
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(
            f"GitLab at {api.url} cannot be asked for lost runners: {error}; check GITLAB_TOKEN"
        ) from None


def delete(url: str | None, identifier: str) -> None:
    """Delete a runner; one that is gone already is no error.

    Raises:
        FailedError: GitLab refuses or cannot be reached.
    """
    try:
        _api(url).runners.delete(int(identifier))
    except gitlab.exceptions.GitlabDeleteError as error:
        if error.response_code != requests.codes.not_found:
            raise FailedError(
                f"runner {identifier} was made by a killed run, its token is lost, and GitLab does not let it be deleted: "
                f"{error.error_message}; delete it in GitLab, the next run makes another"
            ) from None
    except (gitlab.exceptions.GitlabError, requests.RequestException) as error:
        raise FailedError(f"GitLab cannot be reached to delete runner {identifier}: {error}") from None


def _api(url: str | None) -> gitlab.Gitlab:
    base = (url or os.environ.get("GITLAB_BASE_URL") or DEFAULT_URL).rstrip("/").removesuffix("/api/v4")
    token = os.environ.get("GITLAB_TOKEN", "")
    return gitlab.Gitlab(base, private_token=token, retry_transient_errors=True, timeout=30)


def _fits(api: gitlab.Gitlab, identifier: int, inputs: Mapping[str, Any], kind: str, owner: int) -> bool:
    """Whether a runner is what was asked for; those that an owner may use but does not own belong to another."""
    found = api.http_get(f"/runners/{identifier}")
    assert isinstance(found, dict)  # noqa: S101  # by GitLab's reference
    same = all(found.get(word) == inputs[key] for key, word in _IDENTITY.items())
    tags = sorted(found.get("tag_list") or ()) == sorted(inputs.get("tagLists") or ())
    owned = owner in [int(each["id"]) for each in found.get(kind) or ()]
    return same and tags and owned and not api.http_list(f"/runners/{identifier}/managers", get_all=True)
