"""The process that the engine starts as the plugin `kubernetes`."""

from runner_platform_sandbox.providers import stubs

stubs.use_bare_packages()

from runner_platform_sandbox.providers.kubernetes.provider import Kubernetes  # noqa: E402 - the stubs must be in place first
from runner_platform_sandbox.providers.server import serve  # noqa: E402 - same

if __name__ == "__main__":
    serve(Kubernetes())
