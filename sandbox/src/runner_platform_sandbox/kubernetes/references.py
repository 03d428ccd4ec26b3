"""The Secrets and ConfigMaps that a pod references, and the missing ones. Pure functions.

A kubelet does not start a container before its Secrets, ConfigMaps and their keys exist, unless the reference is
optional. Missing volumes stop the whole pod (`ContainerCreating`), missing variables their container
(`CreateContainerConfigError`). Leaves out image pull secrets (a kubelet starts without them) and service accounts
(admission checks them). Source: https://kubernetes.io/docs/concepts/configuration/secret/#restriction-secret-must-exist
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Kind = Literal["Secret", "ConfigMap"]

_FIELDS: tuple[tuple[Kind, str], ...] = (("Secret", "secret"), ("ConfigMap", "configMap"))


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One Secret, ConfigMap or key that must exist."""

    kind: Kind
    name: str
    key: str | None = None
    """None if the object alone must exist."""
    container: str | None = None
    """Container of the variable; None for a volume, which the whole pod waits for."""

    def problem(self, namespace: str, keys: set[str] | None) -> str:
        """Return the kubelet's message about a missing object or key, or an empty text.

        Args:
            namespace: Namespace of the pod.
            keys: Keys of the object, or None if it does not exist.
        """
        kind = "secret" if self.kind == "Secret" else "configmap"
        if keys is None:
            return f'{kind} "{self.name}" not found'
        if self.key is not None and self.key not in keys:
            if self.container is None:
                return f"references non-existent {kind} key: {self.key} of {namespace}/{self.name}"
            return f"couldn't find key {self.key} in {self.kind} {namespace}/{self.name}"
        return ""


def references(pod: Mapping[str, Any]) -> Iterator[Reference]:
    """Yield the required references of a pod; optional ones are left out."""
    spec = pod["spec"]
    for volume in spec.get("volumes") or []:
        yield from _volume(volume)
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        yield from _variables(container)


def missing(pod: Mapping[str, Any], keys: Callable[[Kind, str, str], set[str] | None]) -> list[tuple[Reference, str]]:
    """List the missing references of a pod with the kubelet's messages.

    Args:
        pod: The pod.
        keys: Returns the keys of (kind, namespace, name), or None if the object does not exist.
    """
    namespace = pod["metadata"]["namespace"]
    problems = []
    for reference in references(pod):
        problem = reference.problem(namespace, keys(reference.kind, namespace, reference.name))
        if problem:
            problems.append((reference, problem))
    return problems


def _volume(volume: Mapping[str, Any]) -> Iterator[Reference]:
    for kind, field in _FIELDS:
        if volume.get(field):
            # A secret volume has `secretName`, all other sources have `name`.
            yield from _source(kind, volume[field], volume[field].get("secretName") or volume[field].get("name"))
    for source in (volume.get("projected") or {}).get("sources") or []:
        for kind, field in _FIELDS:
            if source.get(field):
                yield from _source(kind, source[field], source[field].get("name"))


def _source(kind: Kind, source: Mapping[str, Any], name: str | None) -> Iterator[Reference]:
    if source.get("optional") or not name:
        return
    yield Reference(kind=kind, name=name)
    for item in source.get("items") or []:
        yield Reference(kind=kind, name=name, key=item["key"])


def _variables(container: Mapping[str, Any]) -> Iterator[Reference]:
    for kind, field in _FIELDS:
        for source in container.get("envFrom") or []:
            reference = source.get(f"{field}Ref")
            if reference and not reference.get("optional"):
                yield Reference(kind=kind, name=reference["name"], container=container["name"])
        for variable in container.get("env") or []:
            reference = (variable.get("valueFrom") or {}).get(f"{field}KeyRef")
            if reference and not reference.get("optional"):
                name, key = reference["name"], reference["key"]
                yield Reference(kind=kind, name=name, key=key, container=container["name"])
