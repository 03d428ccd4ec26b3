"""The real Kubernetes plugin in an engine's home, in place of the stand-in."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from runner_platform_sandbox import disk
from runner_platform_sandbox.tools.discovery import Tools

if TYPE_CHECKING:
    from collections.abc import Mapping

    from runner_platform_sandbox.paths import Paths


def use_real_plugin(paths: Paths, variables: Mapping[str, str]) -> None:
    """Replace the launcher of the stand-in.

    Args:
        paths: Has the engine's home, which is prepared.
        variables: More variables for the plugin, such as the way to a chart repository.
    """
    program = Tools.find(paths).kubernetes_plugin
    (launcher,) = (paths.pulumi_home / "plugins").glob("resource-kubernetes-v*/pulumi-resource-kubernetes")
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items())
    disk.replace(launcher, f'#!/bin/sh\n{exports}exec {shlex.quote(str(program))} "$@"\n', mode=0o755)
