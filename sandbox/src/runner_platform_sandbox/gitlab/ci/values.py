"""Values of job keywords as parts of a job: image, services, cache, artifacts, environment and so on. https://docs.gitlab.com/ci/yaml/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from runner_platform_sandbox.gitlab.ci.document import flat
from runner_platform_sandbox.gitlab.ci.pipeline import Artifacts, Cache, IdToken, Image, Retry, Service
from runner_platform_sandbox.gitlab.ci.variables import Variable

if TYPE_CHECKING:
    from runner_platform_sandbox.gitlab.ci.context import Files


def texts(value: Any) -> tuple[str, ...]:
    """Return a text or a nested list of texts as a tuple."""
    return tuple(str(item) for item in flat(value))


def variables(config: Mapping[str, Any] | None) -> tuple[Variable, ...]:
    """Return variables of a file, each a value or a mapping with `value` and `expand`."""
    return tuple(_variable(name, value) for name, value in (config or {}).items())


def _variable(name: str, value: Any) -> Variable:
    if isinstance(value, Mapping):
        return Variable(name=name, value=_text(value.get("value", "")), raw=value.get("expand") is False)
    return Variable(name=name, value=_text(value))


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def image(config: Any) -> Image | None:
    """Return the value of `image`."""
    return None if config is None else Image(**_container(config))


def services(config: Any) -> tuple[Service, ...]:
    """Return the value of `services`."""
    return tuple(
        Service(
            **_container(service),
            alias=service.get("alias"),
            command=texts(service["command"]) if "command" in service else None,
            variables=variables(service.get("variables")),
        )
        for service in (_with_name(item) for item in config or [])
    )


def _with_name(config: Any) -> dict[str, Any]:
    return {"name": config} if isinstance(config, str) else config


def _container(written: Any) -> dict[str, Any]:
    config = _with_name(written)
    options = {executor: config[executor] for executor in ("docker", "kubernetes") if executor in config}
    return {
        "name": config["name"],
        "entrypoint": texts(config["entrypoint"]) if "entrypoint" in config else None,
        "pull_policy": texts(config.get("pull_policy")),
        "executor_options": {
            key: {name: str(value) for name, value in option.items()} for key, option in options.items()
        },
    }


def caches(config: Any, files: Files, *, protected: bool) -> tuple[Cache, ...]:
    """Return the value of `cache`, with the keys that the runner gets.

    GitLab keeps caches of protected refs apart: https://docs.gitlab.com/ci/caching/#cache-key-names.
    """
    entries = config if isinstance(config, list) else [config] if config else []
    return tuple(_cache(entry, number, files, protected=protected) for number, entry in enumerate(entries))


def _cache(entry: Mapping[str, Any], number: int, files: Files, *, protected: bool) -> Cache:
    ending = "protected" if protected and not entry.get("unprotect") else "non_protected"
    key = entry.get("key", "default")
    return Cache(
        key=f"{key if isinstance(key, str) else _key_of_files(key, number, files)}-{ending}",
        paths=texts(entry.get("paths")),
        untracked=entry.get("untracked", False),
        policy=entry.get("policy", "pull-push"),
        when=entry.get("when", "on_success"),
        fallback_keys=tuple(f"{fallback}-{ending}" for fallback in entry.get("fallback_keys", [])),
    )


def _key_of_files(key: Mapping[str, Any], number: int, files: Files) -> str:
    """Return prefix and digest, as lib/gitlab/ci/pipeline/seed/build/cache.rb of GitLab makes them."""
    names = texts(key.get("files"))
    prefix = key.get("prefix") or "_".join([str(number), *(name.split(".")[0] for name in names)])
    contents = [_blob(text) for name in names if (text := files.read(name)) is not None]
    commits = [commit for name in texts(key.get("files_commits")) if (commit := files.last_commit(name))]
    hashes = sorted({*contents, *commits})
    digest = hashlib.sha1("-".join(hashes).encode(), usedforsecurity=False).hexdigest() if hashes else "default"
    return f"{prefix}-{digest}"


def _blob(text: str) -> str:
    """Return Git's name of a file's content."""
    content = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def artifacts(config: Mapping[str, Any] | None) -> Artifacts | None:
    """Return the value of `artifacts`."""
    if not config:
        return None
    reports = {kind: _report(paths) for kind, paths in config.get("reports", {}).items() if paths is not None}
    return Artifacts(
        name=config.get("name"),
        paths=texts(config.get("paths")),
        exclude=texts(config.get("exclude")),
        untracked=config.get("untracked", False),
        when=config.get("when", "on_success"),
        expire_in=config.get("expire_in"),
        reports=reports,
        access=config.get("access", "all"),
        expose_as=config.get("expose_as"),
    )


def _report(paths: Any) -> tuple[str, ...]:
    return texts(paths.get("path") if isinstance(paths, Mapping) else paths)


def id_tokens(config: Mapping[str, Any] | None) -> tuple[IdToken, ...]:
    """Return the value of `id_tokens`."""
    return tuple(IdToken(name=name, audiences=texts(token["aud"])) for name, token in (config or {}).items())


def retry(config: Any) -> Retry:
    """Return the value of `retry`: a number, or a mapping with `max`, `when` and `exit_codes`."""
    config = config if isinstance(config, Mapping) else {"max": config or 0}
    codes = exit_codes(config)
    when = texts(config.get("when")) or (() if codes else ("always",))
    return Retry(max=config.get("max", 0), when=when, exit_codes=codes)


def exit_codes(config: Any) -> tuple[int, ...]:
    """Return `exit_codes` of `retry` or of `allow_failure`, a number or a list."""
    return tuple(int(code) for code in flat(config.get("exit_codes"))) if isinstance(config, Mapping) else ()
