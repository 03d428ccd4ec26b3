"""The GitLab stand-in: its routes, its authentication, and the way to the rules.

The rules are in `runners`, `projects`, `pipelines` and `jobs`, the issuer in `identity`, the state in `store` and
`jobs.records`. One rule runs at a time, so these modules need no lock; only Git's transfers run beside them.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from runner_platform_sandbox.gitlab import errors, projects, repositories, runners
from runner_platform_sandbox.gitlab.identity import Issuer
from runner_platform_sandbox.gitlab.jobs.board import Board
from runner_platform_sandbox.gitlab.jobs.records import Records
from runner_platform_sandbox.gitlab.jobs.runner_api import RunnerApi
from runner_platform_sandbox.gitlab.jobs.variables import VERSION
from runner_platform_sandbox.gitlab.pipelines import PipelineApi
from runner_platform_sandbox.gitlab.store import Role, Store
from runner_platform_sandbox.gitlab.transport import Answer, Request, ok, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Answer", "GitLab", "Request", "serve"]

_API: Final = "/api/v4"
_NAME: Final = "([^/]+)"
_NUMBER: Final = "([0-9]+)"
_GIT: Final = re.compile(r"^/(.+?)\.git/(info/refs|git-upload-pack|git-receive-pack)$")


class GitLab:
    """Answers requests.

    Args:
        folder: State; made if absent.
        issuer: URL of the OpenID Connect issuer in ID tokens.
    """

    def __init__(self, folder: Path, issuer: str) -> None:
        self.store = Store(folder)
        self.issuer = Issuer(folder, issuer.rstrip("/"))
        self.board = Board(self.store, Records(folder / "pipelines"), self.issuer)
        self._runner_api = RunnerApi(self.board)
        self._pipelines = PipelineApi(self.board, folder / "repositories")
        table = [*self._own_routes(), *self._runner_routes(), *self._project_routes(), *self._pipeline_routes()]
        self._routes = [(method, re.compile(f"^{pattern}$"), handler) for method, pattern, handler in table]

    def _own_routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        return [
            ("GET", "/.well-known/openid-configuration", lambda _: ok(self.issuer.configuration())),
            ("GET", "/oauth/discovery/keys", lambda _: ok(self.issuer.jwks())),
            ("GET", "/_sandbox/health", lambda _: ok({"ready": True, "pid": os.getpid()})),
            ("POST", "/_sandbox/id-token", self._id_token),
            ("PUT", "/_sandbox/seed", self._seed),
            ("GET", f"{_API}/version", self._as_caller(lambda *_: ok({"version": VERSION, "revision": "sandbox"}))),
            ("GET", f"{_API}/user", self._as_caller(lambda caller, _: ok(_user(caller)))),
        ]

    def _runner_routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        api, job = self._runner_api, f"{_API}/jobs/{_NUMBER}"
        return [
            ("POST", f"{_API}/user/runners", self._create),
            ("POST", f"{_API}/runners/verify", self._verify),
            ("DELETE", f"{_API}/runners/managers", self._unregister),
            ("GET", f"{_API}/runners/{_NAME}", self._call(runners.show)),
            ("PUT", f"{_API}/runners/{_NAME}", self._update),
            ("DELETE", f"{_API}/runners/{_NAME}", self._delete),
            ("GET", f"{_API}/runners/{_NAME}/managers", self._call(runners.managers)),
            ("GET", f"{_API}/runners/{_NAME}/jobs", self._jobs),
            ("POST", f"{_API}/runners/{_NAME}/reset_authentication_token", self._reset),
            ("GET", f"{_API}/groups/{_NAME}/runners", self._call(runners.of_group)),
            ("GET", f"{_API}/projects/{_NAME}/runners", self._call(runners.of_project)),
            ("POST", f"{_API}/projects/{_NAME}/runners", self._assign),
            ("POST", f"{_API}/jobs/request", api.request_job),
            ("PUT", job, api.update),
            ("PATCH", f"{job}/trace", api.append_trace),
            ("POST", f"{job}/artifacts/authorize", api.authorize_artifacts),
            ("POST", f"{job}/artifacts", api.upload_artifacts),
            ("GET", f"{job}/artifacts", api.download_artifacts),
            ("GET", f"{_API}/job", self._own_job),
        ]

    def _project_routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        project = f"{_API}/projects/{_NAME}"
        routes: list[tuple[str, str, Callable[..., Answer]]] = [
            ("GET", f"{_API}/groups/{_NAME}", self._as_caller(self._show_group)),
            ("POST", f"{_API}/projects", self._as_caller(self._create_project)),
            ("GET", project, self._as_caller(self._show_project)),
            ("GET", f"{project}/variables", self._as_caller(self._list_variables)),
            ("POST", f"{project}/variables", self._as_caller(self._add_variable)),
            ("DELETE", f"{project}/variables/{_NAME}", self._as_caller(self._remove_variable)),
        ]
        for kind, path in projects.PROTECTED.items():
            routes += [
                ("GET", f"{project}/{path}", self._as_caller(partial(self._list_protected, kind))),
                ("POST", f"{project}/{path}", self._as_caller(partial(self._protect, kind))),
                ("DELETE", f"{project}/{path}/{_NAME}", self._as_caller(partial(self._unprotect, kind))),
            ]
        return routes

    def _pipeline_routes(self) -> list[tuple[str, str, Callable[..., Answer]]]:
        api, project = self._pipelines, f"{_API}/projects/{_NAME}"
        pipeline, job = f"{project}/pipelines/{_NUMBER}", f"{project}/jobs/{_NUMBER}"
        table: list[tuple[str, str, Callable[..., Answer]]] = [
            ("POST", f"{project}/pipeline", api.create),
            ("GET", f"{project}/pipelines", api.list_all),
            ("GET", pipeline, api.show),
            ("GET", f"{pipeline}/jobs", api.jobs),
            ("POST", f"{pipeline}/cancel", api.cancel),
            ("POST", f"{pipeline}/retry", api.retry),
            ("GET", f"{project}/jobs", api.project_jobs),
            ("GET", job, api.show_job),
            ("GET", f"{job}/trace", api.trace),
            ("GET", f"{job}/artifacts", api.artifacts),
            ("POST", f"{job}/play", api.play_job),
            ("POST", f"{job}/cancel", api.cancel_job),
            ("POST", f"{job}/retry", api.retry_job),
            ("GET", f"{project}/environments", api.environments),
            ("GET", f"{project}/resource_groups", api.resource_groups),
        ]
        return [(method, pattern, self._as_caller(handler)) for method, pattern, handler in table]

    def answer(self, request: Request) -> Answer:
        """Return the answer to a request."""
        try:
            if match := _GIT.match(request.path):
                return self._git(request, *match.groups())
            with self.board.changed:
                for method, pattern, handler in self._routes:
                    match = pattern.match(request.path)
                    if match and method == request.method:
                        return handler(request, *[unquote(part) for part in match.groups()])
        except errors.RefusedError as error:
            return Answer(error.status, error.body, error.headers)
        except Exception:  # noqa: BLE001 - as GitLab, answer the client whatever happens; the log has the cause
            traceback.print_exc(file=sys.stderr)
            return Answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"message": "500 Internal Server Error"})
        return Answer(HTTPStatus.NOT_FOUND, {"error": "404 Not Found"})

    def _caller(self, request: Request) -> dict[str, Any]:
        caller = self.store.caller(request.token)
        if caller is None:
            raise errors.unauthorized()
        return caller

    def _as_caller(self, handler: Callable[..., Answer]) -> Callable[..., Answer]:
        return lambda request, *parts: handler(self._caller(request), request, *parts)

    def _call(self, rule: Callable[[Store, dict[str, Any], str], Any]) -> Callable[..., Answer]:
        return lambda request, identifier: ok(rule(self.store, self._caller(request), identifier))

    # Runners

    def _create(self, request: Request) -> Answer:
        return Answer(HTTPStatus.CREATED, runners.create(self.store, self._caller(request), request.parameters))

    def _update(self, request: Request, identifier: str) -> Answer:
        body = runners.update(self.store, self._caller(request), identifier, request.parameters)
        self.board.wake()
        return ok(body)

    def _delete(self, request: Request, identifier: str) -> Answer:
        runners.delete(self.store, self._caller(request), identifier)
        self.board.wake()
        return Answer(HTTPStatus.NO_CONTENT)

    def _reset(self, request: Request, identifier: str) -> Answer:
        return Answer(HTTPStatus.CREATED, runners.reset_token(self.store, self._caller(request), identifier))

    def _assign(self, request: Request, identifier: str) -> Answer:
        body = runners.assign(self.store, self._caller(request), identifier, request.parameters)
        self.board.wake()
        return Answer(HTTPStatus.CREATED, body)

    def _jobs(self, request: Request, identifier: str) -> Answer:
        runner = runners.show(self.store, self._caller(request), identifier)
        status = request.parameters.get("status")
        jobs = [*self._pipelines.of_runner(runner["id"], request), *self.store.jobs_of(str(runner["id"]))]
        return ok([job for job in jobs if status in {None, job["status"]}])

    def _own_job(self, request: Request) -> Answer:
        record = self._runner_api.job_of_token(request.token or str(request.parameters.get("job_token") or ""))
        if record is None:
            raise errors.unauthorized()
        pipeline, job = record
        return ok(self._pipelines.view(self.board.project(pipeline.project), pipeline, job, request))

    def _verify(self, request: Request) -> Answer:
        return ok(runners.verify(self.store, request.parameters))

    def _unregister(self, request: Request) -> Answer:
        runners.unregister_manager(self.store, request.parameters)
        return Answer(HTTPStatus.NO_CONTENT)

    # Projects

    def _show_group(self, caller: dict[str, Any], _: Request, identifier: str) -> Answer:
        group = self.store.group(identifier)
        if group is None or self.store.role(caller, group=group["id"]) == Role.NONE:
            raise errors.not_found("Group")
        return ok({"id": group["id"], "name": group["path"], "path": group["path"], "full_path": group["path"]})

    def _create_project(self, caller: dict[str, Any], request: Request) -> Answer:
        project = projects.create(self.store, caller, request.parameters)
        return Answer(HTTPStatus.CREATED, projects.details(project, request.base))

    def _show_project(self, caller: dict[str, Any], request: Request, identifier: str) -> Answer:
        return ok(projects.details(projects.find(self.store, caller, identifier), request.base))

    def _maintained(self, caller: dict[str, Any], identifier: str) -> dict[str, Any]:
        return projects.find(self.store, caller, identifier, Role.MAINTAINER)

    def _list_protected(self, kind: str, caller: dict[str, Any], _: Request, identifier: str) -> Answer:
        project = projects.find(self.store, caller, identifier)
        return ok([projects.protection(name, kind) for name in projects.protected_names(project, kind)])

    def _protect(self, kind: str, caller: dict[str, Any], request: Request, identifier: str) -> Answer:
        project = self._maintained(caller, identifier)
        return Answer(HTTPStatus.CREATED, projects.protect(self.store, project, kind, request.parameters))

    def _unprotect(self, kind: str, caller: dict[str, Any], _: Request, identifier: str, name: str) -> Answer:
        projects.unprotect(self.store, self._maintained(caller, identifier), kind, name)
        return Answer(HTTPStatus.NO_CONTENT)

    def _list_variables(self, caller: dict[str, Any], _: Request, identifier: str) -> Answer:
        return ok(list(self._maintained(caller, identifier).get("variables", {}).values()))

    def _add_variable(self, caller: dict[str, Any], request: Request, identifier: str) -> Answer:
        project = self._maintained(caller, identifier)
        return Answer(HTTPStatus.CREATED, projects.add_variable(self.store, project, request.parameters))

    def _remove_variable(self, caller: dict[str, Any], _: Request, identifier: str, key: str) -> Answer:
        projects.remove_variable(self.store, self._maintained(caller, identifier), key)
        return Answer(HTTPStatus.NO_CONTENT)

    # Git

    def _git(self, request: Request, path: str, service: str) -> Answer:
        with self.board.changed:
            pushes = "git-receive-pack" in {service, request.parameters.get("service")}
            user, refused = self._git_user(request, path, pushes=pushes)
            project = self.store.project(path) or {}
            folder = self._pipelines.repository(project).folder
        return repositories.serve(folder, service, request, user, refused)

    def _git_user(self, request: Request, path: str, *, pushes: bool) -> tuple[str, list[str]]:
        """Return the user of a Git client and the patterns of the refs that the user may not push to."""
        caller = self.store.caller(request.token)
        if caller is not None:
            project = projects.find(self.store, caller, path)
            if self.store.role(caller, project=project["id"]) >= Role.MAINTAINER:
                return caller["user"], []
            protected = projects.protected_names(project, "branches"), projects.protected_names(project, "tags")
            heads, tags = (
                [f"refs/{kind}/{name}" for name in names]
                for kind, names in zip(("heads", "tags"), protected, strict=True)
            )
            return caller["user"], [*heads, *tags]
        record = self._runner_api.job_of_token(request.token or "")
        if record is None:
            refused = errors.unauthorized()
            refused.headers = {"WWW-Authenticate": 'Basic realm="GitLab"'}
            raise refused
        pipeline, job = record
        if self.board.project(pipeline.project)["path"] != path:
            raise errors.not_found("Project")
        if pushes:
            raise errors.forbidden("a job token may not push")
        return job.user, []

    # The sandbox's own

    def _id_token(self, request: Request) -> Answer:
        self._caller(request)  # a job must not make itself the token of another project
        return Answer(HTTPStatus.CREATED, {"token": self.issuer.token(request.parameters)})

    def _seed(self, request: Request) -> Answer:
        self._caller(request)
        self.store.merge_seed(request.parameters)
        return ok({"merged": True})


def _user(caller: dict[str, Any]) -> dict[str, Any]:
    return {"id": 1, "username": caller["user"], "state": "active"}
