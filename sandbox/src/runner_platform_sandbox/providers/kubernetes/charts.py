"""The chart of a release: where it comes from, and what it renders.

Owns three sources: a folder or archive on disk; a repository (its archive stays in Helm's cache); and, for
`gitlab-runner` alone, the sandbox's own chart where the repository cannot be reached. That answer is kept in Helm's
cache folder too, so that a sandbox without internet does not wait for the repository at every step.

Rendering needs no cluster, as in the real plugin. It gives the checksum that shows a changed chart or value, the names
of the objects, and the chart's own refusals already in a preview.
"""

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests
import yaml

from runner_platform_sandbox.providers.kubernetes.helm import Helm, cache_folder
from runner_platform_sandbox.providers.kubernetes.manifest import Kind
from runner_platform_sandbox.providers.stand_in import InvalidInputsError, ProviderError
from runner_platform_sandbox.providers.validation import Failure

OWN_CHART: Final = Path(__file__).parents[4] / "chart" / "gitlab-runner"
_OWN_NAME: Final = "gitlab-runner"
_REACH_SECONDS: Final = 4.0
_EXACT: Final = re.compile(r"^v?(\d+)\.(\d+)\.(\d+)$")
_asking: Final = threading.Lock()
"""Several releases ask for the same repository at once; one request is enough."""
_FIRST_MINOR, _LAST_OF_18 = 77, 88
"""Chart 0.77 is runner 18.0 and so on; 0.88 is 18.11, 0.89 is 19.0."""


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart on disk."""

    path: Path
    own: bool = False
    """True: the sandbox's own chart stands in for the official one."""
    notice: str = ""
    """Message about the chart for a person; empty if there is none."""


def locate(helm: Helm, inputs: dict[str, Any]) -> Chart:
    """Return the chart of a release's inputs; download it if needed.

    Raises:
        ProviderError: The chart does not exist, or its repository cannot be reached.
    """
    name, version = str(inputs["chart"]), inputs.get("version")
    options = inputs.get("repositoryOpts") or {}
    for key in ("username", "password"):
        if options.get(key):
            raise ProviderError(
                f"repositoryOpts.{key} is not modelled by the sandbox; download the chart and give its path"
            )
    local = Path(name).expanduser()
    if local.exists():
        return Chart(path=local.absolute())
    repository = options.get("repo")
    if not repository and not name.startswith(("oci://", "http://", "https://")):
        raise ProviderError(
            f"chart {name!r} is not on disk and repositoryOpts.repo is not set; give a path or a repository"
        )
    source = str(repository or name)
    with _asking:
        problem = _unreachable(source, options)
    if not problem:
        return Chart(path=_download(helm, name, version, options))
    if name.rpartition("/")[2] == _OWN_NAME:
        return _own(version, source, problem)
    raise ProviderError(
        f"chart {name!r} cannot be fetched: {source} cannot be reached ({problem}); "
        "download the chart and give its path"
    )


def _download(helm: Helm, name: str, version: str | None, options: dict[str, Any]) -> Path:
    """Download an archive once for each repository, chart and exact version."""
    digest = hashlib.sha256(json.dumps([name, version, options], sort_keys=True).encode()).hexdigest()[:16]
    folder = cache_folder() / "runner-platform-charts" / digest
    kept = sorted(folder.glob("*.tgz"))
    if kept and _EXACT.match(version or ""):
        return kept[-1]
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        arguments = ["pull", name, "--destination", fresh]
        for flag, value in (("--version", version), ("--repo", options.get("repo"))):
            arguments += [flag, str(value)] if value else []
        for flag, key in (("--ca-file", "caFile"), ("--cert-file", "certFile"), ("--key-file", "keyFile")):
            arguments += [flag, str(options[key])] if options.get(key) else []
        helm.local(arguments)
        archive = next(Path(fresh).glob("*.tgz"))
        return Path(shutil.move(archive, folder / archive.name))


def _unreachable(source: str, options: dict[str, Any]) -> str:
    """Return why a repository cannot be reached, or an empty text. Only failures are recorded."""
    record = cache_folder() / "runner-platform-unreachable.json"
    problems = json.loads(record.read_text()) if record.exists() else {}
    if source in problems:
        return str(problems[source])
    url = re.sub(r"^oci://", "https://", source)
    if source.startswith("http"):
        url = f"{source.rstrip('/')}/index.yaml"
    try:
        requests.get(url, timeout=_REACH_SECONDS, verify=options.get("caFile") or True, stream=True).close()
    except requests.exceptions.RequestException as error:
        record.parent.mkdir(parents=True, exist_ok=True)
        problem = f"{type(error).__name__} within {_REACH_SECONDS:.0f} s"
        _replace(record, json.dumps({**problems, source: problem}, indent=1))
        return problem
    return ""


def _own(version: str | None, source: str, problem: str) -> Chart:
    """Return the sandbox's own chart with the requested version."""
    if version is not None and not _EXACT.match(version):
        raise ProviderError(
            f"version {version!r} of chart {_OWN_NAME} is a range, which needs its repository: {source} ({problem})"
        )
    digest = hashlib.sha256()
    for file in sorted(path for path in OWN_CHART.rglob("*") if path.is_file()):
        digest.update(file.read_bytes())
    folder = cache_folder() / "runner-platform-charts" / f"own-{version or 'default'}-{digest.hexdigest()[:16]}"
    chart = folder / _OWN_NAME
    if not chart.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as fresh:
            copy = Path(fresh) / "copy"
            shutil.copytree(OWN_CHART, copy / _OWN_NAME)
            _stamp(copy / _OWN_NAME / "Chart.yaml", version)
            if not folder.exists():
                _move(copy, folder)
    notice = (
        f"{source} cannot be reached ({problem}); the sandbox's own {_OWN_NAME} chart stands in for "
        f"version {version or 'latest'}. `runner-platform sandbox reset` asks again"
    )
    return Chart(path=chart, own=True, notice=notice)


def _move(copy: Path, folder: Path) -> None:
    try:
        copy.rename(folder)
    except OSError:
        if not folder.exists():  # another process was faster and created the same chart
            raise


def _stamp(file: Path, version: str | None) -> None:
    match = _EXACT.match(version or "")
    if match is None:
        return
    chart = yaml.safe_load(file.read_text())
    chart["version"] = f"{match[1]}.{match[2]}.{match[3]}"
    chart["appVersion"] = app_version(int(match[2]), int(match[3])) if match[1] == "0" else chart["appVersion"]
    file.write_text(yaml.safe_dump(chart, sort_keys=False))


def app_version(minor: int, patch: int) -> str:
    """Return the runner version that the official chart 0.<minor>.<patch> installs by default."""
    if minor <= _LAST_OF_18:
        return f"18.{max(minor - _FIRST_MINOR, 0)}.{patch}"
    return f"19.{minor - _LAST_OF_18 - 1}.{patch}"


def _replace(file: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent)
    with os.fdopen(handle, "w") as stream:
        stream.write(text)
    Path(name).replace(file)


def render(helm: Helm, chart: Chart, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the computed inputs of a release: `checksum` and `resourceNames`.

    Raises:
        InvalidInputsError: The chart cannot be rendered with these values.
    """
    place = [str(inputs["name"]), str(chart.path), "--namespace", str(inputs["namespace"])]
    flags = ["--no-hooks"] if inputs.get("disableWebhooks") else []
    flags += [] if inputs.get("skipCrds") else ["--include-crds"]
    flags += ["--dependency-update"] if inputs.get("dependencyUpdate") else []
    values = inputs.get("values") or {}
    try:
        if inputs.get("lint"):
            helm.template(["lint", str(chart.path), "--namespace", str(inputs["namespace"])], values)
        manifest = helm.template(["template", *place, *flags], values)
    except ProviderError as error:
        raise InvalidInputsError([Failure("chart", f"cannot be rendered: {error}")]) from error
    names: dict[str, list[str]] = {}
    for item in yaml.load_all(manifest, Loader=_Loader):
        if isinstance(item, dict) and "kind" in item:
            _add(names, item, str(inputs["namespace"]))
    return {"checksum": hashlib.sha256(manifest.encode()).hexdigest(), "resourceNames": names}


def _add(names: dict[str, list[str]], item: dict[str, Any], default: str) -> None:
    kind = Kind(str(item.get("apiVersion")), str(item["kind"]))
    group = "" if kind.group == "v1" else f".{kind.group}"
    metadata = item.get("metadata") or {}
    name = str(metadata.get("name"))
    if kind.namespaced is not False:
        name = f"{metadata.get('namespace') or default}/{name}"
    names.setdefault(f"{kind.kind}{group}/{kind.api_version}", []).append(name)
