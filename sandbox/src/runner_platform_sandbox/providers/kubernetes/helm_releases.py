"""Helm releases (`kubernetes:helm.sh/v3:Release`), by the real Helm.

Owns the life of a release for the engine: inputs with defaults, name, replacement, recovery after a failed or
interrupted run. Leaves out charts (`charts`) and the process and its records (`helm`).

Unlike the real plugin, it discards a pending record of a killed Helm of the same resource, because the lock proves that
no Helm works on the release. For releases of other resources a person decides.
https://www.pulumi.com/registry/packages/kubernetes/api-docs/helm/v3/release/
"""

from typing import Final

from runner_platform_sandbox.kubernetes.client import KubeClient
from runner_platform_sandbox.providers.kubernetes import causes, charts, differences
from runner_platform_sandbox.providers.kubernetes.applying import CLUSTER_ERRORS, message_of
from runner_platform_sandbox.providers.kubernetes.cluster_access import Access
from runner_platform_sandbox.providers.kubernetes.helm import (
    DEFAULT_SECONDS,
    Helm,
    HelmError,
    Record,
    discard_record,
    install_arguments,
    latest_record,
    release_lock,
    uninstall_arguments,
    unsupported_inputs,
)
from runner_platform_sandbox.providers.kubernetes.manifest import automatic_name, label_digest, parse_identifier
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
from runner_platform_sandbox.providers.wire import UNKNOWN, has_unknown

_COMPUTED: Final = ("checksum", "resourceNames")
_DEPLOYED: Final = "deployed"


class Releases:
    """Operations on the releases of one cluster."""

    def __init__(self, stand_in: StandIn, access: Access) -> None:
        self._stand_in = stand_in
        self._access = access
        self._helm = Helm(stand_in, access)
        self._announced: set[str] = set()

    def check(self, target: Target, news: Properties, olds: Properties, wish: Naming) -> Properties:
        """Check types, fill in name, namespace and timeout, and render the chart if all values are known."""
        checked, failures = self._stand_in.sdk.check_resource(target.token, news)
        failures += unsupported_inputs(checked)
        if failures:
            raise InvalidInputsError(failures)
        inputs = {key: value for key, value in checked.items() if key not in _COMPUTED}
        if not inputs.get("allowNullValues"):
            inputs |= {"values": differences.without_nulls(inputs["values"])} if "values" in inputs else {}
        if not inputs.get("name"):
            inputs["name"] = olds.get("name") or automatic_name(target.name, wish)
        inputs["namespace"] = inputs.get("namespace") or self._access.namespace
        if not inputs.get("skipAwait"):
            inputs.setdefault("timeout", DEFAULT_SECONDS)
        if has_unknown(inputs):
            return inputs
        try:
            chart = charts.locate(self._helm, inputs)
        except ProviderError as error:
            raise InvalidInputsError([Failure("chart", str(error))]) from error
        return inputs | charts.render(self._helm, chart, inputs)

    def diff(self, _: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Diff:
        """Compare inputs; a release that is not deployed counts as changed, so that an update repairs it."""
        changes = differences.changed(old_inputs, news)
        if (olds.get("status") or {}).get("status", _DEPLOYED) != _DEPLOYED:
            changes.append("status")
        replaces = [path for path in changes if path in {"name", "namespace"}]
        return Diff(changes=changes, replaces=replaces)

    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Install the release and wait until it is ready."""
        if target.preview:
            return "", self._preview(inputs)
        client = self._access.require()
        return _identifier(inputs), self._install(client, target, inputs, owned=False)

    def update(self, target: Target, olds: Properties, news: Properties) -> Properties:
        """Upgrade the release and wait until it is ready."""
        if target.preview:
            return {**self._preview(news), "status": olds.get("status", UNKNOWN)}
        client = self._access.require()
        return self._install(client, target, news, owned=True)

    def _preview(self, inputs: Properties) -> Properties:
        return {"resourceNames": UNKNOWN, **inputs, "status": UNKNOWN}

    def _install(self, client: KubeClient, target: Target, inputs: Properties, *, owned: bool) -> Properties:
        name, namespace = str(inputs["name"]), str(inputs["namespace"])
        chart = charts.locate(self._helm, inputs)
        if chart.notice and chart.notice not in self._announced:
            self._announced.add(chart.notice)
            self._stand_in.announce(target.urn, chart.notice)
        progress = _Progress(self._stand_in, client, target, name, namespace)
        with release_lock(self._stand_in, name, namespace, client.connection.server, progress.tell) as lock:
            try:
                self._clear(client, target, name, namespace, owned=owned)
                arguments = install_arguments(chart.path, inputs, _owner(target))
                self._helm.release(arguments, inputs.get("values") or {}, lock=lock, progress=progress.look)
                return _outputs(inputs, latest_record(client, name, namespace))
            except HelmError as error:
                raise self._failure(client, inputs, progress, error) from error
            except CLUSTER_ERRORS as error:
                raise ProviderError(f"release {namespace}/{name}: {message_of(error)}") from error

    def _clear(self, client: KubeClient, target: Target, name: str, namespace: str, *, owned: bool) -> None:
        """Refuse a release of another resource, and discard a pending record of a killed run."""
        record = latest_record(client, name, namespace)
        if record is None:
            return
        where = f"release {namespace}/{name}"
        if not owned and record.owner != _owner(target):
            remedy = f"`helm uninstall {name} --namespace {namespace}`"
            raise ProviderError(
                f"{where} exists already ({record.status}, revision {record.revision}) and was not installed by this "
                f"resource; import it (`pulumi import {target.token} {target.name} {namespace}/{name}`) or remove it: "
                f"{remedy}"
            )
        if not record.pending:
            return
        if record.owner != _owner(target):
            raise ProviderError(
                f"{where} is {record.status} (revision {record.revision}): another Helm works on it, or was killed. "
                f"If no Helm runs: `helm rollback {name} --namespace {namespace}`, or if it was never deployed "
                f"`helm uninstall {name} --namespace {namespace}`; then run again"
            )
        self._stand_in.report(target.urn, f"a killed Helm left {where} {record.status}; continuing from there")
        discard_record(client, record, namespace)

    def _failure(
        self, client: KubeClient, inputs: Properties, progress: "_Progress", error: HelmError
    ) -> ProviderError:
        """Return the error of a failed install, with the cause; the state keeps a release that Helm kept."""
        name, namespace = str(inputs["name"]), str(inputs["namespace"])
        progress.look()
        message = f"{error}{f'. Cause: {progress.cause}' if progress.cause else ''}"
        try:
            record = latest_record(client, name, namespace)
        except CLUSTER_ERRORS:
            record = None
        if record is None:
            return ProviderError(f"release {namespace}/{name} was not installed: {message}")
        next_step = "the next run upgrades it" if record.status != _DEPLOYED else "the previous revision is deployed"
        reason = f"release {namespace}/{name} is {record.status} (revision {record.revision}), {next_step}: {message}"
        return PartialFailureError(_identifier(inputs), _outputs(inputs, record), inputs, reason)

    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Read a release from Helm's records."""
        settings, problem = self._access.settings, self._access.problem()
        if problem:
            if settings.delete_unreachable:
                return None
            if settings.skip_update_unreachable and outputs:
                return Existing(id=target.id, inputs=inputs, outputs=outputs)
            raise ProviderError(
                f"release {target.id} cannot be read, the Kubernetes cluster cannot be reached: {problem}"
            )
        namespace, name = parse_identifier(target.id)
        namespace = namespace or self._access.namespace
        try:
            record = latest_record(self._access.client, name, namespace)
        except CLUSTER_ERRORS as error:
            raise ProviderError(f"release {target.id} cannot be read: {message_of(error)}") from error
        if record is None:
            return None
        current_inputs = dict(inputs) or {"chart": record.metadata.get("name"), "name": name, "namespace": namespace}
        if record.config or "values" in current_inputs:
            current_inputs["values"] = record.config
        if "version" in current_inputs or not inputs:
            current_inputs["version"] = record.metadata.get("version")
        return Existing(id=f"{namespace}/{name}", inputs=current_inputs, outputs=_outputs(current_inputs, record))

    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Uninstall the release and wait until its objects are deleted."""
        problem = self._access.problem()
        if problem:
            if self._access.settings.delete_unreachable:
                return
            raise ProviderError(
                f"release {target.id} cannot be removed, the Kubernetes cluster cannot be reached: {problem}"
            )
        release_inputs = inputs or outputs
        namespace, name = parse_identifier(target.id)
        client = self._access.client
        progress = _Progress(self._stand_in, client, target, name, namespace)
        with release_lock(self._stand_in, name, namespace, client.connection.server, progress.tell) as lock:
            try:
                if latest_record(client, name, namespace) is None:
                    return
                arguments = uninstall_arguments(name, namespace, release_inputs, target.timeout)
                self._helm.release(arguments, None, lock=lock, progress=lambda: None)
            except (HelmError, *CLUSTER_ERRORS) as error:
                raise ProviderError(f"release {namespace}/{name} could not be removed: {message_of(error)}") from error


class _Progress:
    """Shows why a release's pods do not run, and keeps the cause, because a rollback removes the evidence."""

    def __init__(self, stand_in: StandIn, client: KubeClient, target: Target, name: str, namespace: str) -> None:
        self._stand_in, self._client, self._urn = stand_in, client, target.urn
        self._name, self._namespace = name, namespace
        self.cause = ""

    def tell(self, message: str) -> None:
        """Show a message."""
        self._stand_in.report(self._urn, message)

    def look(self) -> None:
        """Look for the cause, and show a new one."""
        cause = causes.of_release(self._client, self._name, self._namespace)
        if cause and cause != self.cause:
            self.cause = cause
            self.tell(f"waiting: {cause}")


def _identifier(inputs: Properties) -> str:
    return f"{inputs['namespace']}/{inputs['name']}"


def _owner(target: Target) -> str:
    """Return the label value that marks a release as this resource's."""
    return label_digest(target.urn)


def _outputs(inputs: Properties, record: Record | None) -> Properties:
    if record is None:
        return inputs
    metadata = record.metadata
    status = {
        "appVersion": str(metadata.get("appVersion") or ""),
        "chart": str(metadata.get("name") or ""),
        "name": inputs["name"],
        "namespace": inputs["namespace"],
        "revision": record.revision,
        "status": record.status,
        "version": str(metadata.get("version") or ""),
    }
    return {**inputs, "status": status}
