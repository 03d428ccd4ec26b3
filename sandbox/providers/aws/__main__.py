"""The plugin process: `python -m sandbox.providers.aws <engine address>`."""

from sandbox.providers import stubs

stubs.use_bare_packages()

from sandbox.providers import server  # noqa: E402 - the bare packages must be there before anything imports pulumi
from sandbox.providers.aws.provider import AwsStandIn  # noqa: E402

if __name__ == "__main__":
    server.serve(AwsStandIn())
