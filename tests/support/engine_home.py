"""The real engine in a home of its own, for tests of the stand-ins."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from runner_platform_sandbox import engine
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.tools.discovery import Tools


def engine_home(folder: Path) -> tuple[Paths, dict[str, str]]:
    """Prepare an engine with the stand-in plugins below a folder; returns its paths and its environment."""
    paths = Paths(cache=Paths.from_environment().cache, root=folder)
    venv = Path(sys.prefix)
    folders = engine.prepare(paths, Tools.find(paths), venv)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "HELM_CACHE_HOME") if name in os.environ}
    return paths, kept | {
        "PATH": os.pathsep.join([str(venv / "bin"), *map(str, folders), os.environ["PATH"]]),
        "PULUMI_HOME": str(paths.pulumi_home),
        "PULUMI_BACKEND_URL": f"file://{paths.backend}",
        "PULUMI_CONFIG_PASSPHRASE": "public",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
