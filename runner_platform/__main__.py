"""`python -m runner_platform`: the same as the script `runner-platform`."""

from runner_platform.cli.main import main

main()
