"""`runner-platform`: the command line.

Exit codes: 0 fine; 1 the thing asked about is not fine; 2 wrong use; 3 interrupted, state saved; 4 locked by a live run.
With `--json`, standard output is one JSON document and everything else goes to standard error. Commands import what they need when
they run, so that the exec plugin, which starts often, starts fast.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer

from config.errors import SettingsError
from runner_platform.cli import access, bootstrap, check, diff, driver, image, prove
from runner_platform.errors import CommandError, WrongUseError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="GitLab runners on EKS, and who may deploy where.",
)
Stack = Annotated[
    str, typer.Option("--stack", "-s", help="foundation, dev, prod, or another stack that has a stack file.")
]


@app.command("kube-token", hidden=True)
def kube_token(
    cluster: Annotated[str, typer.Option()],
    region: Annotated[str, typer.Option()],
    profile: Annotated[str, typer.Option()],
) -> None:
    """Print a token that the cluster accepts: the exec plugin of the deployer's kubeconfig."""
    from runner_platform.kube import token as plugin  # noqa: PLC0415  # see the module's docstring

    raise typer.Exit(plugin.main(cluster, region, profile))


@app.command()
def resources(
    stack: Stack,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False,
    options: Annotated[bool, typer.Option("--options", hidden=True, help="URN and options too, for `diff`.")] = False,
) -> None:
    """List what a stack's program registers, with all inputs."""
    from runner_platform import stacks  # noqa: PLC0415  # same
    from runner_platform.check import mock_run, resource_list  # noqa: PLC0415  # Pulumi's SDKs take a second to import

    found = resource_list.to_json(mock_run.run_program(stacks.known(stack)).resources, options=options)
    if as_json:
        _print_json(found)
        return
    for each in found:
        typer.echo(f"{each['type']:60} {each['name']:45} {each['account'] or '-'}")


@app.command()
def runners(stack: Stack, as_json: Annotated[bool, typer.Option("--json", help="One JSON document.")] = False) -> None:
    """Compare the runners as GitLab has them with the settings; exit code 1 where they differ."""
    from runner_platform import live_runners  # noqa: PLC0415  # see the module's docstring

    found = live_runners.of_stack(stack, lambda target: typer.echo(f"target: GitLab at {target}", err=True))
    if as_json:
        _print_json([asdict(each) for each in found])
    for each in () if as_json else found:
        typer.echo(f"{each.runner_class}: {'; '.join(each.differences) or 'as the settings say'}")
    raise typer.Exit(int(any(each.differences for each in found)))


@app.command()
def values(runner_class: Annotated[str, typer.Argument(metavar="CLASS")], stack: Stack) -> None:
    """Print a class's Helm values, for `helm template -f`; no token is in them."""
    from runner_platform import class_files  # noqa: PLC0415  # see the module's docstring

    typer.echo(class_files.values(stack, runner_class), nl=False)


@app.command()
def profiles(
    runner_class: Annotated[str | None, typer.Argument(metavar="CLASS")] = None,
    stack: Annotated[str | None, typer.Option("--stack", "-s", help="The class's stack.")] = None,
    platform: Annotated[
        str | None,
        typer.Option(help="deployer, reader or foundation: what the platform's own pipeline or operators bring."),
    ] = None,
    source_profile: Annotated[
        str | None, typer.Option(help="With --platform: the profile of a person, whose credentials assume the roles.")
    ] = None,
    token_file: Annotated[
        str | None, typer.Option(help="With --platform, in a pipeline: where the job's GitLab ID token is.")
    ] = None,
) -> None:
    """Print an AWS config: of a class's jobs, or of those who deploy the platform."""
    from runner_platform import class_files  # noqa: PLC0415  # see the module's docstring

    if platform is not None and runner_class is None:
        typer.echo(class_files.platform_profiles(platform, source_profile, token_file), nl=False)
    elif platform is None and runner_class is not None and stack is not None:
        typer.echo(class_files.class_profiles(stack, runner_class), nl=False)
    else:
        raise WrongUseError("name a class and its --stack, or --platform deployer, reader or foundation")


check.register(app)
access.register(app)
driver.register(app)
prove.register(app)
app.add_typer(image.app, name="image")
diff.register(app)
bootstrap.register(app)


def _print_json(value: Any) -> None:
    json.dump(value, sys.stdout, indent=2)
    sys.stdout.write("\n")


def _add_installed_commands() -> None:
    """Add the groups of commands that other distributions bring, such as `sandbox`; only the one that was typed is imported."""
    for command in entry_points(group="runner_platform.commands"):
        if sys.argv[1:2] == [command.name]:
            app.add_typer(command.load(), name=command.name)
        else:
            app.add_typer(
                typer.Typer(help=f"Commands of the installed `{command.value.partition('.')[0]}`."), name=command.name
            )


def main() -> None:
    """Run the command line; no error that a person can mend ends in a traceback."""
    _add_installed_commands()
    try:
        app()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except WrongUseError as error:
        typer.echo(f"runner-platform: {error}", err=True)
        sys.exit(error.exit_code)
    except CommandError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
