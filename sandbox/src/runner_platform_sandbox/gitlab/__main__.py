"""The process of the GitLab stand-in: `python -m runner_platform_sandbox.gitlab --port N --state DIR`."""

from __future__ import annotations

import argparse
import signal
import threading
from pathlib import Path

from runner_platform_sandbox.gitlab.server import GitLab, serve


def main() -> None:
    """Serve until SIGTERM or SIGINT. Every change is on disk before its answer is sent."""
    parser = argparse.ArgumentParser(prog="python -m runner_platform_sandbox.gitlab", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--issuer", default="https://gitlab.com", help="issuer of ID tokens")
    arguments = parser.parse_args()
    server = serve(GitLab(arguments.state, arguments.issuer), arguments.port)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    thread = threading.Thread(target=server.serve_forever, name="gitlab", daemon=True)
    thread.start()
    stopping.wait()
    server.shutdown()
    server.server_close()


if __name__ == "__main__":
    main()
