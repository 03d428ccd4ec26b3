"""What a release's chart renders, before anything is installed.

Owns the checksum by which a changed chart or value is noticed, the names of the objects, and the chart's own refusals,
which so appear in a preview. Leaves out the cluster: like the real plugin, this renders without one.
"""

import hashlib
from typing import Any

import yaml

from runner_platform_sandbox.providers.base import InvalidInputsError, ProviderError
from runner_platform_sandbox.providers.kubernetes.charts import Chart
from runner_platform_sandbox.providers.kubernetes.helm import Helm
from runner_platform_sandbox.providers.kubernetes.kinds import Kind
from runner_platform_sandbox.providers.validation import Failure

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def rendered(helm: Helm, chart: Chart, inputs: dict[str, Any]) -> dict[str, Any]:
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
