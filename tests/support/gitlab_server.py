"""The fake GitLab over HTTP in this process, for tests of what speaks to GitLab."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from runner_platform_sandbox.gitlab.server import GitLab, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """Serve a GitLab whose state is in a folder; yields the API's base URL, with a slash at its end."""
    server = serve(GitLab(folder, "https://gitlab.com"), 0)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v4/"
    finally:
        server.shutdown()
        server.server_close()
