"""GitLab runners that a killed deployment made and never wrote down.

Owns finding such a runner by what was asked for, and deleting it. GitLab shows a runner's token once, in the answer to
its creation: when that answer is lost nobody can ever use the runner, and taking it into the state would leave a class
without a token. So the honest recovery is to delete it and have it made again. A runner that some manager uses is left
alone: somebody knows its token, so it is not the one that was lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.providers.gitlab import DEFAULT_URL, RUNNER, Api, as_asked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["RUNNER", "delete", "find"]

_PAGE: Final = 100
"""GitLab's largest page."""
_IDENTITY: Final = ("description", "tagLists", "runnerType", "groupId", "projectId")
"""What tells one runner of the program from another; the rest may have been edited since."""
_OWNERS: Final = {"group_type": ("groups", "groupId"), "project_type": ("projects", "projectId")}


def find(environment: Mapping[str, str], url: str | None, inputs: Mapping[str, Any]) -> list[str]:
    """Ids of the runners that look like the wanted one and that no manager uses.

    Args:
        environment: Holds GITLAB_TOKEN, and GITLAB_BASE_URL where it is not gitlab.com.
        url: Base URL of the resource's provider, where the program names one.
        inputs: Inputs of the resource in wire names. Without a description there is nothing to know it by.

    Raises:
        ProviderError: GitLab refuses or cannot be reached.
    """
    owner = _OWNERS.get(str(inputs.get("runnerType")))
    if owner is None or not inputs.get("description"):
        return []
    kind, key = owner
    api = _api(environment, url)
    listed = _listed(api, f"{kind}/{int(inputs[key])}/runners", str(inputs["runnerType"]))
    likely = [str(each["id"]) for each in listed if each.get("description") == inputs["description"]]
    return [each for each in likely if _fits(api, each, inputs)]


def delete(environment: Mapping[str, str], url: str | None, identifier: str) -> None:
    """Delete a runner; one that is gone already is no error.

    Raises:
        ProviderError: GitLab refuses or cannot be reached.
    """
    _api(environment, url).call("DELETE", f"runners/{identifier}")


def _api(environment: Mapping[str, str], url: str | None) -> Api:
    base = url or environment.get("GITLAB_BASE_URL") or DEFAULT_URL
    return Api(url=base if base.endswith("/") else f"{base}/", token=environment.get("GITLAB_TOKEN", ""))


def _listed(api: Api, path: str, kind: str) -> Iterator[dict[str, Any]]:
    """The owner's own runners; those that it may use but does not own have another type."""
    seen: set[int] = set()
    page = 1
    while True:
        found = api.call("GET", f"{path}?type={kind}&per_page={_PAGE}&page={page}") or []
        fresh = [each for each in found if each["id"] not in seen]
        yield from (each for each in fresh if each.get("runner_type") == kind)
        if len(found) < _PAGE or not fresh:
            return
        seen |= {each["id"] for each in fresh}
        page += 1


def _fits(api: Api, identifier: str, inputs: Mapping[str, Any]) -> bool:
    found = api.call("GET", f"runners/{identifier}")
    wanted = {key: inputs[key] for key in _IDENTITY if key in inputs}
    return found is not None and as_asked(found, wanted) and not api.call("GET", f"runners/{identifier}/managers")
