"""The kubernetes stand-in: its configuration, and the handler of each type.

Leaves out functions such as `kubernetes:yaml:decode`, because the program renders nothing on the client.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from runner_platform_sandbox.providers import wire
from runner_platform_sandbox.providers.kubernetes.cluster_access import (
    Access,
    Settings,
    compare_settings,
    read_settings,
    unsupported_settings,
)
from runner_platform_sandbox.providers.kubernetes.helm_releases import Releases
from runner_platform_sandbox.providers.kubernetes.objects import Objects
from runner_platform_sandbox.providers.schema import decode_config
from runner_platform_sandbox.providers.stand_in import (
    Diff,
    Existing,
    InvalidInputsError,
    Naming,
    Properties,
    ProviderError,
    StandIn,
    Target,
)

RELEASE: Final = "kubernetes:helm.sh/v3:Release"


class Kubernetes(StandIn):
    """Stands in for Pulumi's `kubernetes` plugin."""

    name = "kubernetes"

    def __init__(self) -> None:
        super().__init__()
        self._configured(Settings())

    def _configured(self, cluster_settings: Settings) -> None:
        self.access = Access(cluster_settings)
        self._objects = Objects(self, self.access)
        self._releases = Releases(self, self.access)

    def _handler(self, token: str) -> Objects | Releases:
        return self._releases if token == RELEASE else self._objects

    def check_config(self, news: Properties) -> Properties:
        """Refuse settings that are unknown to the SDK or not modelled."""
        checked = super().check_config(news)
        failures = unsupported_settings(decode_config(wire.reveal(news), self.sdk.provider()))
        if failures:
            raise InvalidInputsError(failures)
        return checked

    def diff_config(self, olds: Properties, news: Properties) -> Diff:
        """Compare two configurations; see `compare_settings`."""
        return compare_settings(olds, news)

    def configure(self, config: Properties) -> None:
        """Use the configuration; the first operation on an object connects to the cluster."""
        self._configured(read_settings(config))

    def check(self, target: Target, news: Properties, olds: Properties, naming: Naming) -> Properties:
        """Check inputs and fill in names."""
        return self._handler(target.token).check(target, news, olds, naming)

    def diff(
        self, target: Target, olds: Properties, old_inputs: Properties, news: Properties, ignored: Sequence[str]
    ) -> Diff:
        """Compare state and inputs. The engine has put the old values of ignored properties into `news`."""
        del ignored
        return self._handler(target.token).diff(target, olds, old_inputs, news)

    def create(self, target: Target, inputs: Properties) -> tuple[str, Properties]:
        """Create, or preview a creation."""
        return self._handler(target.token).create(target, inputs)

    def read(self, target: Target, inputs: Properties, outputs: Properties) -> Existing | None:
        """Read for a refresh or an import."""
        return self._handler(target.token).read(target, inputs, outputs)

    def update(self, target: Target, olds: Properties, old_inputs: Properties, news: Properties) -> Properties:
        """Update in place, or preview it."""
        del old_inputs
        return self._handler(target.token).update(target, olds, news)

    def delete(self, target: Target, outputs: Properties, inputs: Properties) -> None:
        """Delete, and wait for the end of the deletion."""
        self._handler(target.token).delete(target, outputs, inputs)

    def invoke(self, token: str, arguments: Mapping[str, Any]) -> Properties:
        """Refuse every function."""
        del arguments
        raise ProviderError(
            f"function {token} is not modelled by the kubernetes stand-in; register resources instead of rendering them"
        )
