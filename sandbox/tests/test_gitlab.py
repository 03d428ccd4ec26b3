"""The GitLab stand-in: its refusals in GitLab's words, roles, tokens shown once, state kept, ID tokens."""

from __future__ import annotations

import base64
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from runner_platform_sandbox.environment import GITLAB_TOKEN
from runner_platform_sandbox.gitlab.server import GitLab, Request

if TYPE_CHECKING:
    from pathlib import Path

OWNER, MAINTAINER, DEVELOPER = GITLAB_TOKEN, "glpat-sandbox-maintainer", "glpat-sandbox-developer"
ISSUER = "https://gitlab.com"
GROUP: dict[str, Any] = {"runner_type": "group_type", "group_id": 1234, "tag_list": "small", "run_untagged": "false"}
PROJECT: dict[str, Any] = {"runner_type": "project_type", "project_id": 5678}


@pytest.fixture
def gitlab(tmp_path: Path) -> GitLab:
    return GitLab(tmp_path, ISSUER)


def call(gitlab: GitLab, method: str, path: str, access: str | None = OWNER, **parameters: Any) -> tuple[int, Any]:
    prefix = "" if path.startswith(("/_sandbox", "/oauth", "/.well")) else "/api/v4"
    status, body, _ = gitlab.answer(Request(method, prefix + path, access, parameters))
    return int(status), body


def test_a_created_runner_shows_its_token_once(gitlab: GitLab) -> None:
    status, made = call(gitlab, "POST", "/user/runners", **GROUP)
    assert (status, made["token"][:5], made["token_expires_at"]) == (HTTPStatus.CREATED, "glrt-", None)
    status, shown = call(gitlab, "GET", f"/runners/{made['id']}")
    assert status == HTTPStatus.OK
    assert made["token"] not in json.dumps(shown), "GitLab never shows a token again"
    assert (shown["tag_list"], shown["run_untagged"], shown["groups"][0]["id"]) == (["small"], False, 1234)


@pytest.mark.parametrize("token", [None, "glpat-nobody"])
def test_nobody_gets_401(gitlab: GitLab, token: str | None) -> None:
    for method, path in (("GET", "/version"), ("POST", "/user/runners"), ("GET", "/groups/1234/runners")):
        assert call(gitlab, method, path, token) == (401, {"message": "401 Unauthorized"})


@pytest.mark.parametrize(
    ("token", "parameters"),
    [(MAINTAINER, GROUP), (DEVELOPER, GROUP), (DEVELOPER, PROJECT), (OWNER, {"runner_type": "instance_type"})],
)
def test_a_role_that_is_too_small_gets_403(gitlab: GitLab, token: str, parameters: dict[str, Any]) -> None:
    answer = call(gitlab, "POST", "/user/runners", token, **parameters)
    assert answer == (403, {"message": "403 Forbidden - Insufficient permissions"})


def test_a_maintainer_may_create_a_runner_of_the_project(gitlab: GitLab) -> None:
    assert call(gitlab, "POST", "/user/runners", MAINTAINER, **PROJECT)[0] == HTTPStatus.CREATED


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"tag_list": ""}, "Tags list can not be empty when runner is not allowed to pick untagged jobs"),
        ({"maximum_timeout": "599"}, "Maximum timeout needs to be at least 10 minutes"),
        ({"maintenance_note": "x" * 1025}, "Maintenance note is too long (maximum is 1024 characters)"),
        ({"group_id": 99}, "Missing/invalid scope"),
    ],
)
def test_a_broken_rule_is_named(gitlab: GitLab, change: dict[str, Any], why: str) -> None:
    answer = call(gitlab, "POST", "/user/runners", **{**GROUP, **change})
    assert answer == (400, {"message": f"400 Bad request - {why}"})


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ({}, "runner_type is missing"),
        ({"runner_type": "other"}, "runner_type does not have a valid value"),
        ({"runner_type": "group_type"}, "group_id is missing"),
        ({**GROUP, "access_level": "x"}, "access_level does not have a valid value"),
        ({**GROUP, "paused": "maybe"}, "paused is invalid"),
    ],
)
def test_a_malformed_request_is_refused(gitlab: GitLab, parameters: dict[str, Any], why: str) -> None:
    assert call(gitlab, "POST", "/user/runners", **parameters) == (400, {"error": why})


def test_an_update_is_held_to_the_same_rules(gitlab: GitLab) -> None:
    made = call(gitlab, "POST", "/user/runners", **GROUP)[1]
    path = f"/runners/{made['id']}"
    assert call(gitlab, "PUT", path, paused=True)[1]["paused"] is True
    status, body = call(gitlab, "PUT", path, tag_list="")
    assert (status, list(body["message"])) == (400, ["tags_list"])
    assert call(gitlab, "PUT", path, DEVELOPER, paused=False) == (403, {"message": "403 Forbidden - No access granted"})
    assert call(gitlab, "PUT", path)[0] == HTTPStatus.BAD_REQUEST


def test_a_locked_runner_and_a_group_runner_cannot_be_shared(gitlab: GitLab) -> None:
    locked = call(gitlab, "POST", "/user/runners", **PROJECT, locked=True)[1]["id"]
    group = call(gitlab, "POST", "/user/runners", **GROUP)[1]["id"]
    free = call(gitlab, "POST", "/user/runners", **PROJECT)[1]["id"]
    refused = {
        locked: {"message": "403 Forbidden - Runner is locked"},
        group: {"message": "403 Forbidden - Runner is a group runner"},
    }
    for runner, body in refused.items():
        assert call(gitlab, "POST", "/projects/5679/runners", runner_id=runner) == (403, body)
    assert call(gitlab, "POST", "/projects/5679/runners", runner_id=free)[0] == HTTPStatus.CREATED
    assert [item["id"] for item in call(gitlab, "GET", f"/runners/{free}")[1]["projects"]] == [5678, 5679]
    body = {"message": "403 Forbidden - Runner associated with more than one project"}
    assert call(gitlab, "DELETE", f"/runners/{free}") == (403, body)


def test_what_is_not_there_and_what_is_not_ours_is_404(gitlab: GitLab) -> None:
    assert call(gitlab, "GET", "/runners/77") == (404, {"message": "404 Not found"})
    for path in ("/groups/99/runners", "/groups/4321/runners"):
        assert call(gitlab, "GET", path) == (404, {"message": "404 Group Not Found"})
    assert call(gitlab, "GET", "/projects/8765/runners") == (404, {"message": "404 Project Not Found"})


def test_lists_name_the_runners_of_a_group_and_of_a_project(gitlab: GitLab) -> None:
    group = call(gitlab, "POST", "/user/runners", **GROUP)[1]["id"]
    project = call(gitlab, "POST", "/user/runners", **PROJECT)[1]["id"]
    assert [item["id"] for item in call(gitlab, "GET", "/groups/1234/runners")[1]] == [group]
    mine = call(gitlab, "GET", "/projects/senncloud%2Fdeployments/runners")[1]
    assert [item["id"] for item in mine] == [group, project]


def test_managers_come_and_go_with_the_token(gitlab: GitLab) -> None:
    made = call(gitlab, "POST", "/user/runners", **GROUP)[1]
    assert call(gitlab, "POST", "/runners/verify", None, token="glrt-wrong")[0] == HTTPStatus.FORBIDDEN
    assert call(gitlab, "POST", "/runners/verify", None, token=made["token"], system_id="r_1")[1]["id"] == made["id"]
    assert call(gitlab, "GET", f"/runners/{made['id']}")[1]["status"] == "online"
    assert call(gitlab, "GET", f"/runners/{made['id']}/managers")[1] == [{"id": 1, "system_id": "r_1"}]
    assert call(gitlab, "DELETE", "/runners/managers", None, token=made["token"], system_id="r_1")[0] == 204
    assert call(gitlab, "GET", f"/runners/{made['id']}/managers")[1] == []


def test_a_reset_token_ends_the_old_one(gitlab: GitLab) -> None:
    made = call(gitlab, "POST", "/user/runners", **GROUP)[1]
    fresh = call(gitlab, "POST", f"/runners/{made['id']}/reset_authentication_token")[1]["token"]
    assert call(gitlab, "POST", "/runners/verify", None, token=made["token"])[0] == HTTPStatus.FORBIDDEN
    assert call(gitlab, "POST", "/runners/verify", None, token=fresh)[0] == HTTPStatus.OK


def test_everything_is_there_after_a_restart(gitlab: GitLab, tmp_path: Path) -> None:
    made = call(gitlab, "POST", "/user/runners", **GROUP)[1]
    again = GitLab(tmp_path, ISSUER)
    assert call(again, "GET", f"/runners/{made['id']}")[0] == HTTPStatus.OK
    assert call(again, "GET", "/oauth/discovery/keys") == call(gitlab, "GET", "/oauth/discovery/keys")
    assert call(again, "DELETE", f"/runners/{made['id']}") == (204, None)
    assert call(again, "POST", "/user/runners", **GROUP)[1]["id"] != made["id"], "ids are never used twice"


def test_an_id_token_verifies_with_the_published_key(gitlab: GitLab) -> None:
    claims = {"aud": "https://gitlab.com", "sub": "project_path:senncloud/deployments:ref_type:branch:ref:main"}
    status, body = call(gitlab, "POST", "/_sandbox/id-token", **claims, expires_in=600, project_id="5678")
    assert status == HTTPStatus.CREATED
    head, payload, signature = body["token"].split(".")
    key = call(gitlab, "GET", "/oauth/discovery/keys")[1]["keys"][0]
    public = rsa.RSAPublicNumbers(number(key["e"]), number(key["n"])).public_key()
    public.verify(raw(signature), f"{head}.{payload}".encode(), padding.PKCS1v15(), hashes.SHA256())
    found = json.loads(raw(payload))
    assert (found["iss"], found["sub"], found["project_id"]) == (ISSUER, claims["sub"], "5678")
    assert found["exp"] - found["iat"] == 600
    assert json.loads(raw(head))["kid"] == key["kid"]
    assert call(gitlab, "GET", "/.well-known/openid-configuration")[1]["issuer"] == ISSUER


def test_an_id_token_is_minted_for_no_stranger(gitlab: GitLab) -> None:
    assert call(gitlab, "POST", "/_sandbox/id-token", None, aud="a", sub="b")[0] == HTTPStatus.UNAUTHORIZED
    assert call(gitlab, "POST", "/_sandbox/id-token", aud="a") == (400, {"error": "sub is missing"})


def test_groups_projects_and_tokens_can_be_added(gitlab: GitLab) -> None:
    seed: dict[str, Any] = {
        "groups": {"77": {"path": "new"}},
        "tokens": {"glpat-new": {"user": "x", "groups": {"77": "OWNER"}}},
    }
    assert call(gitlab, "PUT", "/_sandbox/seed", **seed)[0] == HTTPStatus.OK
    assert call(gitlab, "POST", "/user/runners", "glpat-new", runner_type="group_type", group_id=77)[0] == 201


def raw(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(text: str) -> int:
    return int.from_bytes(raw(text), "big")
