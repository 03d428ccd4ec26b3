"""Files that a pipeline file includes, and files that those include. https://docs.gitlab.com/ci/yaml/#include."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from runner_platform_sandbox.gitlab.ci import document, globs, inputs, rules, schema
from runner_platform_sandbox.gitlab.ci.errors import PipelineError
from runner_platform_sandbox.gitlab.ci.variables import expand, expanded, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.gitlab.ci.context import Context, Files
    from runner_platform_sandbox.gitlab.ci.variables import Variable

MAIN: Final = ".gitlab-ci.yml"
_MOST_FILES: Final = 150
_WAYS: Final = ("local", "project", "component", "template", "remote", "artifact")


@dataclass(frozen=True)
class _Source:
    """One file to read: its project's files, its path, and its name in messages."""

    files: Files
    path: str
    name: str


class Includes:
    """Reads a pipeline file with all that it includes.

    Args:
        context: Situation of the pipeline.
        variables: Variables that are known before the file is read.
    """

    def __init__(self, context: Context, variables: tuple[Variable, ...]) -> None:
        self._context = context
        self._raw = values_of(variables)
        self._values = values_of(expanded(variables))
        self._count = 0

    def configuration(self, text: str, files: Files) -> document.Config:
        """Return the merged configuration of the main file and everything that it includes."""
        return self._merged(inputs.configuration(text, self._context.inputs, self._values, MAIN), files, MAIN)

    def _merged(self, config: document.Config, files: Files, file: str) -> document.Config:
        entries = config.pop("include", None) or []
        result: document.Config = {}
        for entry in entries if isinstance(entries, list) else [entries]:
            result = document.merged(result, self._included(_as_mapping(entry, file), files, file))
        return document.merged(result, config)

    def _included(self, entry: Mapping[str, Any], files: Files, file: str) -> document.Config:
        schema.check_include(entry, file)
        if "rules" in entry:
            situation = rules.Situation(context=self._context, files=files, raw=self._raw, values=self._values)
            rule = rules.matching(document.flat(entry["rules"]), situation, f"{file}: include")
            if rule is None or rule.get("when") == "never":
                return {}
        result: document.Config = {}
        for source in self._sources(entry, files, file):
            self._count += 1
            if self._count > _MOST_FILES:
                raise PipelineError(
                    f"{file}: the pipeline includes more than {_MOST_FILES} files; does a file include itself?"
                )
            text = source.files.read(source.path)
            if text is None:
                raise PipelineError(
                    f"{file}: `include` names {source.name}, which does not exist; correct the path or add the file"
                )
            config = inputs.configuration(text, entry.get("inputs") or {}, self._values, source.name)
            result = document.merged(result, self._merged(config, source.files, source.name))
        return result

    def _sources(self, entry: Mapping[str, Any], files: Files, file: str) -> list[_Source]:
        if "local" in entry:
            path = expand(entry["local"], self._values).removeprefix("/")
            paths = sorted(name for name in files.paths() if globs.matches(path, name)) if "*" in path else [path]
            return [_Source(files, name, name) for name in paths]
        if "project" in entry:
            return self._of_project(entry, files, file)
        if "component" in entry:
            return [self._of_component(expand(entry["component"], self._values), files, file)]
        way = next((way for way in _WAYS if way in entry), None)
        if way is None:
            raise PipelineError(
                f"{file}: `include` needs one of local, project or component; it has {', '.join(entry)}"
            )
        raise PipelineError(
            f"{file}: `include: {way}` is not known to the sandbox's GitLab; include a file by local, project or component"
        )

    def _of_project(self, entry: Mapping[str, Any], files: Files, file: str) -> list[_Source]:
        project = expand(entry["project"], self._values)
        ref = expand(entry["ref"], self._values) if entry.get("ref") else None
        other_files = self._project(files, project, ref, file)
        paths = [expand(path, self._values).removeprefix("/") for path in document.flat(entry["file"])]
        return [_Source(other_files, path, f"{project}: {path}") for path in paths]

    def _of_component(self, address: str, files: Files, file: str) -> _Source:
        location, _, version = address.partition("@")
        host, _, path = location.partition("/")
        project, _, name = path.rpartition("/")
        if not (version and project and name):
            raise PipelineError(f"{file}: component {address} is incomplete; write host/group/project/name@version")
        server = self._values.get("CI_SERVER_FQDN", host)
        if host != server:
            raise PipelineError(
                f"{file}: component {address} is on another server; begin it with $CI_SERVER_FQDN, which is {server}"
            )
        component_files = self._project(files, project, version, file)
        single = f"templates/{name}.yml"
        path = single if component_files.read(single) is not None else f"templates/{name}/template.yml"
        return _Source(component_files, path, address)

    @staticmethod
    def _project(files: Files, project: str, ref: str | None, file: str) -> Files:
        other_files = files.project(project, ref)
        if other_files is None:
            at = f" at {ref}" if ref else ""
            raise PipelineError(
                f"{file}: `include` names project {project}{at}, which the sandbox's GitLab does not have; correct path and ref"
            )
        return other_files


def _as_mapping(entry: Any, file: str) -> Mapping[str, Any]:
    if isinstance(entry, str):
        return {"remote" if entry.startswith(("http://", "https://")) else "local": entry}
    if not isinstance(entry, dict):
        raise PipelineError(
            f"{file}: `include` holds {entry!r}; write a path, or local, project or component with a value"
        )
    return entry
