"""`runner-platform resources`, `runners`, `values`, `profiles`: a stack's resources, runners and files, for people and other programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated, Any

import typer

from runner_platform import class_files, live_runners, stacks
from runner_platform.check import mock_run, resource_list
from runner_platform.errors import WrongUseError

Stack = Annotated[
    str, typer.Option("--stack", "-s", help="foundation, dev, prod, or another stack that has a stack file.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document.")]


def resources(
    stack: Stack,
    as_json: Json = False,
    options: Annotated[bool, typer.Option("--options", hidden=True, help="URN and options too, for `diff`.")] = False,
) -> None:
    """List the resources that a stack's program registers, with all inputs."""
    run = mock_run.run_program(stacks.known(stack))
    entries = resource_list.to_json(run.resources, options=options)
    if as_json:
        _print_json(entries)
        return
    for entry in entries:
        typer.echo(f"{entry['type']:60} {entry['name']:45} {entry['account'] or '-'}")


def runners(stack: Stack, as_json: Json = False) -> None:
    """Compare the runners in GitLab with the settings; exit code 1 if they differ."""
    compared = live_runners.of_stack(stack, lambda target: typer.echo(f"target: GitLab at {target}", err=True))
    if as_json:
        _print_json([asdict(runner) for runner in compared])
    else:
        for runner in compared:
            typer.echo(f"{runner.runner_class}: {'; '.join(runner.differences) or 'as the settings say'}")
    raise typer.Exit(int(any(runner.differences for runner in compared)))


def values(runner_class: Annotated[str, typer.Argument(metavar="CLASS")], stack: Stack) -> None:
    """Print a class's Helm values, without a token, for `helm template -f`."""
    typer.echo(class_files.values(stack, runner_class), nl=False)


def profiles(
    runner_class: Annotated[str | None, typer.Argument(metavar="CLASS")] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="The class's stack.")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="deployer, reader or foundation: the config of the platform's own pipeline or operators."),
    ] = None,
    source_profile: Annotated[
        str | None, typer.Option(help="With --platform: a person's profile, whose credentials assume the roles.")
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="With --platform, in a pipeline: file with the job's GitLab ID token.")
    ] = None,
) -> None:
    """Print an AWS config: of a class's jobs, or of the platform's own pipeline or operators."""
    if platform is not None and runner_class is None:
        typer.echo(class_files.platform_profiles(platform, source_profile, token_file), nl=False)
    elif platform is None and runner_class is not None and stack is not None:
        typer.echo(class_files.class_profiles(stack, runner_class), nl=False)
    else:
        raise WrongUseError("name a class and its --stack, or --platform deployer, reader or foundation")


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")
