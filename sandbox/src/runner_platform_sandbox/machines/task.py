"""A task of ECS: a process that plays the container of a task definition, with the credentials of its task role.

The credentials endpoint is on loopback, under a path that nobody guesses. The AWS server starts the task only if the role's
trust admits `ecs-tasks.amazonaws.com` from this account and task. Leaves out everything that ECS does with the container.
"""

from __future__ import annotations

import json
import secrets
import threading
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from runner_platform_sandbox.aws.client import AwsAdmin


@contextmanager
def start(admin: AwsAdmin, account: str, region: str, cluster: str, definition: str) -> Iterator[str]:
    """Play a task until the end of the block.

    Args:
        admin: Control routes of the AWS server.
        account: 12-digit id.
        region: Region of the cluster.
        cluster: Name of the cluster.
        definition: Family, `family:revision` or ARN of the task definition.

    Returns:
        URL for `AWS_CONTAINER_CREDENTIALS_FULL_URI`.

    Raises:
        AwsAdminError: The cluster or the definition does not exist, or the task role does not trust ECS.
    """
    place = {"account": account, "region": region, "cluster": cluster, "definition": definition}
    document = admin.machine("task", **place)["document"]
    path = f"/v2/credentials/{secrets.token_urlsafe(24)}"
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(path, json.dumps(document).encode()))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}{path}"
    finally:
        server.shutdown()
        server.server_close()


def _handler(path: str, document: bytes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Gives the credentials to whoever has the path."""

        def do_GET(self) -> None:
            content = document if self.path == path else b""
            self.send_response(HTTPStatus.OK if content else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_arguments: Any) -> None:
            """Write nothing: the path is a secret."""

    return Handler
