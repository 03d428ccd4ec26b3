"""The plugin process: `python -m runner_platform_sandbox.providers.aws <engine address>`."""

from runner_platform_sandbox.providers import stubs

stubs.use_bare_packages()

from runner_platform_sandbox.providers import server  # noqa: E402 - the bare packages must be there before anything imports pulumi
from runner_platform_sandbox.providers.aws.provider import AwsStandIn  # noqa: E402

if __name__ == "__main__":
    server.serve(AwsStandIn())
