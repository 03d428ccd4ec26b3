"""Run the command line with `python -m runner_platform`, as the script `runner-platform` does."""

from runner_platform.cli.main import main

main()
