"""The script `runner-platform`, also as `python -m runner_platform`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line, or at once the exec plugin: `kubectl` starts `kube-token` often, so it imports no other command."""
    if sys.argv[1:2] == ["kube-token"]:
        from runner_platform.kube import token  # noqa: PLC0415  # see above

        token.main(sys.argv[2:])
    else:
        from runner_platform.cli import main as command_line  # noqa: PLC0415  # see above

        command_line.main()


if __name__ == "__main__":
    main()
