"""Kubernetes objects of every kind: check, compare, apply, read and delete them.

Owns the life of an object for the engine; its state is the live object without field ownership, plus the name of the
field manager. Leaves out Helm releases (`helm_releases`), the cluster (`cluster_access`), comparing (`applying`) and
waiting (`waiting`).

As in the real plugin: a create does not take over an existing object (since 4.29.0, by its changelog), fields of other
managers are not overwritten, deletion is foreground, a refresh only reads, and a preview asks the API server by dry run
or, if that fails, compares inputs. Unlike the real plugin, a create takes over an object that an interrupted run of the
same program left behind.
"""

import base64
from typing import Any, Final

from runner_platform_sandbox.kubernetes.errors import (
    ApiError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnknownKindError,
)
from runner_platform_sandbox.providers.kubernetes import applying, differences
from runner_platform_sandbox.providers.kubernetes.applying import (
    CLUSTER_ERRORS,
    MANAGER_KEY,
    UNAVAILABLE,
    describe,
    manager_of,
    message_of,
)
from runner_platform_sandbox.providers.kubernetes.cluster_access import Access
from runner_platform_sandbox.providers.kubernetes.manifest import (
    Kind,
    annotation_is_true,
    identifier,
    kind_of,
    kind_of_token,
    parse_identifier,
    propagation,
    with_name,
)
from runner_platform_sandbox.providers.kubernetes.waiting import (
    NotReadyError,
    Patience,
    delete_and_wait,
    until_ready,
    verdict,
)
from runner_platform_sandbox.providers.schema import UnknownTokenError
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
from runner_platform_sandbox.providers.wire import UNKNOWN, Secret, has_unknown

Manifest = dict[str, Any]

_APPEARING_SECONDS: Final = 15.0
"""Seconds that a create waits for its namespace or its definition, which another resource may be creating."""


class Objects:
    """Operations on the objects of one cluster."""

    def __init__(self, stand_in: StandIn, access: Access) -> None:
        self._stand_in = stand_in
        self._access = access

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Check types, and fill in apiVersion, kind, namespace and a missing name."""
        kind = kind_of_token(target.token)
        inputs = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            **differences.without_nulls(self._checked(target, news)),
        }
        metadata = inputs.get("metadata", {})
        if metadata is UNKNOWN:
            return inputs
        if not isinstance(metadata, dict):
            raise InvalidInputsError([Failure("metadata", "must be a map")])
        metadata = with_name(metadata, (olds.get("metadata") or {}), target.name, naming)
        if kind.namespaced is False and metadata.get("namespace"):
            raise InvalidInputsError([Failure("metadata.namespace", f"must not be set: {kind.kind} has no namespace")])
        if "namespace" not in metadata and self._namespaced(kind):
            metadata = {**metadata, "namespace": self._access.namespace}
        return {**inputs, "metadata": metadata}

    def _checked(self, target: Target, news: Properties) -> Properties:
        """Check types; the SDKs write extensions of definitions, such as x-kubernetes-map-type, with underscores."""
        defines = target.token.endswith(":CustomResourceDefinition")
        renamed = differences.renamed(news, "x-kubernetes-", "x_kubernetes_") if defines else news
        try:
            checked, failures = self._stand_in.sdk.check_resource(target.token, renamed)
        except UnknownTokenError:  # a custom kind: only the cluster has its schema
            return news
        if failures:
            raise InvalidInputsError(failures)
        return differences.renamed(checked, "x_kubernetes_", "x-kubernetes-") if defines else checked

    def _namespaced(self, kind: Kind) -> bool:
        namespaced = kind.namespaced
        if namespaced is not None or self._access.problem():
            return bool(namespaced)
        try:
            return self._access.client.resource(kind.api_version, kind.kind).namespaced
        except CLUSTER_ERRORS:
            return False

    def diff(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Diff:
        """Compare the state with new inputs."""
        return applying.compare(self._access, target, olds, old_inputs, news)

    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Apply the object and wait until it is ready; a preview applies by dry run."""
        if target.preview:
            return "", self._preview(target, inputs, {})
        self._access.require()
        applying.refuse_foreign(self._access, target, inputs)
        live = self._apply_patiently(target, inputs)
        return identifier(live), self._ready(target, live, inputs, {})

    def update(self, target: Target, olds: Properties, news: Properties) -> Properties:
        """Apply the changed object and wait until it is ready; a preview applies by dry run."""
        if target.preview:
            return self._preview(target, news, olds)
        self._access.require()
        try:
            live = applying.apply(self._access, target, news, olds)
        except CLUSTER_ERRORS as error:
            raise ProviderError(f"{describe(news)} could not be changed: {message_of(error)}") from error
        return self._ready(target, live, news, olds)

    def _preview(self, target: Target, inputs: Properties, olds: Properties) -> Properties:
        """Return the result of a dry run without status, or the inputs if no dry run is possible."""
        if has_unknown(inputs) or self._access.problem():
            return inputs
        try:
            if not olds:
                applying.refuse_foreign(self._access, target, inputs)
            return secret_data(differences.without_server_fields(self._dry_run(target, inputs, olds)))
        except ForbiddenError as error:
            if applying.lacks_permission(error):
                return inputs
            raise ProviderError(f"{describe(inputs)} would be refused: {error.message}") from error
        except (NotFoundError, UnknownKindError, *UNAVAILABLE):
            return inputs  # the same program creates its namespace or its definition
        except ApiError as error:
            raise ProviderError(f"{describe(inputs)} would be refused: {error.message}") from error

    def _dry_run(self, target: Target, inputs: Properties, olds: Properties) -> Manifest:
        """Apply by dry run.

        A replacement is previewed as a creation while the object of the same name still exists. Where the API server
        then refuses to change a field, the object is tried under another name, as the real plugin does.
        """
        try:
            return applying.apply(self._access, target, inputs, olds, dry_run=True)
        except InvalidError as error:
            if olds or not applying.fixed_fields(error):
                raise
        metadata = inputs["metadata"]
        renamed = {**inputs, "metadata": {**metadata, "name": f"{metadata['name']}-preview"}}
        result = applying.apply(self._access, target, renamed, {}, dry_run=True)
        return {**result, "metadata": {**result["metadata"], "name": metadata["name"]}}

    def _apply_patiently(self, target: Target, inputs: Properties) -> Manifest:
        """Apply, and wait a little for a namespace or a definition that is being created."""
        patience = Patience(self._stand_in, _APPEARING_SECONDS)
        while True:
            try:
                return applying.apply(self._access, target, inputs, {})
            except (NotFoundError, UnknownKindError) as error:
                if patience.over:
                    raise ProviderError(
                        f"{describe(inputs)} could not be created: {message_of(error)}; "
                        "let the resource depend on the one that creates it"
                    ) from error
                self._stand_in.report(target.urn, f"waiting: {message_of(error)}")
            except CLUSTER_ERRORS as error:
                raise ProviderError(f"{describe(inputs)} could not be created: {message_of(error)}") from error
            patience.rest()

    def _ready(self, target: Target, live: Manifest, inputs: Properties, olds: Properties) -> Properties:
        manager = manager_of(target, inputs, olds)
        if annotation_is_true(inputs, "skipAwait"):
            return outputs_of(live, manager)
        try:
            return outputs_of(until_ready(self._stand_in, self._access.client, target, live), manager)
        except (ProviderError, *CLUSTER_ERRORS) as error:
            last_seen = error.live if isinstance(error, NotReadyError) else live
            reason = f"{describe(inputs)} was applied, but did not become ready: {message_of(error)}"
            raise PartialFailureError(identifier(live), outputs_of(last_seen, manager), inputs, reason) from error

    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Read the live object for a refresh or an import; return None if the object or its kind is deleted."""
        problem = self._access.problem()
        if problem:
            return self._unreachable(target, inputs, outputs, problem)
        kind = kind_of(outputs) if "kind" in outputs else kind_of_token(target.token)
        namespace, name = parse_identifier(target.id)
        try:
            if not namespace and self._namespaced(kind):
                namespace = self._access.namespace
            live = self._access.client.find(kind.api_version, kind.kind, name, namespace or None)
        except UnknownKindError:
            return None
        except CLUSTER_ERRORS as error:
            raise ProviderError(f"{kind} {target.id} could not be read: {message_of(error)}") from error
        if live is None:
            return None
        current_inputs = secret_data(
            _current_inputs(inputs, live) if inputs else differences.without_server_fields(live)
        )
        existing = Existing(
            id=identifier(live), inputs=current_inputs, outputs=outputs_of(live, manager_of(target, inputs, outputs))
        )
        state = verdict(live)
        if not (state.ready or annotation_is_true(live, "skipAwait")):
            # The state keeps it as not initialised, so that the next update waits for it again.
            raise PartialFailureError(
                existing.id, existing.outputs, existing.inputs, f"{describe(live)}: {state.message}"
            )
        return existing

    def _unreachable(self, target: Target, inputs: Properties, outputs: Properties, problem: str) -> Existing | None:
        if self._access.settings.delete_unreachable:
            return None
        if self._access.settings.skip_update_unreachable and outputs:
            return Existing(id=target.id, inputs=inputs, outputs=outputs)
        raise ProviderError(
            f"the Kubernetes cluster cannot be reached: {problem}. If it was deleted, run again with "
            "PULUMI_K8S_DELETE_UNREACHABLE=true to drop its objects from the state"
        )

    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Delete the object and wait for the end of the deletion."""
        problem = self._access.problem()
        if problem:
            self._unreachable(target, {}, {}, problem)
            return
        live = outputs if (outputs.get("metadata") or {}).get("name") else inputs
        try:
            delete_and_wait(self._stand_in, self._access.client, target, live, propagation(live))
        except CLUSTER_ERRORS as error:
            raise ProviderError(f"{describe(live)} could not be deleted: {message_of(error)}") from error


def outputs_of(live: Manifest, manager: str) -> Properties:
    """Return the outputs of a live object, for the state."""
    return {**secret_data(differences.without_field_owners(live)), MANAGER_KEY: manager}


def secret_data(manifest: Properties) -> Properties:
    """Return the object with the data of a core Secret marked as secret."""
    if manifest.get("kind") != "Secret" or manifest.get("apiVersion") != "v1":
        return manifest
    marked = {key: Secret(manifest[key]) for key in ("data", "stringData") if manifest.get(key)}
    return {**manifest, **marked}


def _current_inputs(inputs: Properties, live: Manifest) -> Properties:
    """Return the inputs with live values; `stringData` is write-only, so it is read from `data`."""
    data = live.get("data") or {}
    text = {
        key: base64.b64decode(data[key]).decode(errors="replace")
        for key in inputs.get("stringData") or {}
        if key in data
    }
    view = {**live, "stringData": text} if live.get("kind") == "Secret" else live
    adopted: Properties = differences.adopt_live(inputs, view)
    return adopted
