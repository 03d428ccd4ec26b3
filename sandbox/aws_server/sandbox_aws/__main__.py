"""Starts the server: `python -m sandbox_aws --state DIR --port N --jobs-port M [--region R]`.

Sets MiniStack's environment before the first import of MiniStack (it reads its settings at import), installs the
replacements, and serves both listeners on 127.0.0.1 until SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
from pathlib import Path


def main() -> None:
    """Parse the arguments and serve."""
    parser = argparse.ArgumentParser(prog="sandbox_aws", description="The AWS APIs of the sandbox, on 127.0.0.1.")
    parser.add_argument("--state", type=Path, required=True, help="folder of the state")
    parser.add_argument(
        "--port", type=int, required=True, help="listener of the deployer: root keys and control routes"
    )
    parser.add_argument(
        "--jobs-port", type=int, required=True, help="listener of jobs: without root keys and control routes"
    )
    parser.add_argument("--region", default="eu-central-1", help="default region of requests")
    arguments = parser.parse_args()
    os.umask(0o077)  # the state holds session keys and objects in the clear
    _prepare(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for chatty in ("persistence", "hypercorn.access"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    asyncio.run(_serve(arguments.state, arguments.port, arguments.jobs_port))


def _prepare(arguments: argparse.Namespace) -> None:
    """Set MiniStack's environment variables, and remove the caller's AWS variables."""
    state: Path = arguments.state
    state.mkdir(parents=True, exist_ok=True)
    for name in [name for name in os.environ if name.startswith(("AWS_", "LOCALSTACK_", "MINISTACK_"))]:
        del os.environ[name]  # AWS_ACCESS_KEY_ID would be a further root key
    os.environ.update(
        AUTH="true",
        BIND_HOST="127.0.0.1",
        DOCKER_HOST="unix:///nonexistent",  # no container is ever started
        GATEWAY_PORT=str(arguments.port),
        IOT_MTLS_ENABLED="0",
        MINISTACK_HOST="127.0.0.1",
        MINISTACK_REGION=arguments.region,
        PERSIST_STATE="1",
        S3_DATA_DIR=str(state / "s3"),
        S3_PERSIST="1",
        SANDBOX_JOBS_PORT=str(arguments.jobs_port),
        SFTP_ENABLED="0",
        STATE_DIR=str(state),
        USE_SSL="0",
    )


async def _serve(state: Path, port: int, jobs_port: int) -> None:
    """Install the wrapper and serve until a signal asks to stop."""
    from hypercorn.asyncio import serve  # noqa: PLC0415 - MiniStack's environment must be set first
    from hypercorn.config import Config  # noqa: PLC0415

    from sandbox_aws.installation import install  # noqa: PLC0415

    application = install(state, jobs_port)
    config = Config()
    config.bind = [f"127.0.0.1:{port}", f"127.0.0.1:{jobs_port}"]
    config.accesslog = None
    config.graceful_timeout = 0.5  # idle connections of clients are not worth waiting for
    config.keep_alive_timeout = 60.0
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    await serve(application, config, shutdown_trigger=stopping.wait)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
