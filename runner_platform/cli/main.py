"""`runner-platform`: the command line.

Exit codes: 0 fine; 1 something is wrong; 2 wrong use; 3 interrupted, state saved; 4 locked by a live run.
With `--json`, standard output is one JSON document and everything else goes to standard error. A command's module is imported when the
command runs: Pulumi's SDK takes a second to import, and `--help`, `--version` and shell completion do not need it.
"""

from __future__ import annotations

import atexit
import gc
import sys
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points, version
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from config.errors import SettingsError
from runner_platform.errors import CommandError, WrongUseError

DISTRIBUTION = "runner-platform"
EXTENSIONS = "runner_platform.commands"
"""Entry points by which other distributions add commands, such as `sandbox`."""


@dataclass(frozen=True)
class Target:
    """The function or Typer app of a command."""

    location: str
    """`module:attribute`."""
    help: str
    """One line for the list of commands."""


COMMANDS = {
    "resources": Target("runner_platform.cli.listings:resources", "List the resources of a stack's program."),
    "runners": Target("runner_platform.cli.listings:runners", "Compare the runners in GitLab with the settings."),
    "values": Target("runner_platform.cli.listings:values", "Print a class's Helm values."),
    "profiles": Target(
        "runner_platform.cli.listings:profiles", "Print the AWS config of a class's jobs or of operators."
    ),
    "check": Target("runner_platform.cli.check:check", "Check settings, programs and policies, without an engine."),
    "access": Target("runner_platform.cli.access:access", "Show who may become which role."),
    "diff": Target("runner_platform.cli.diff:diff", "Show what this branch changes against another commit."),
    "note": Target("runner_platform.cli.diff:note", "Post the reports as a note of the merge request."),
    "preview": Target("runner_platform.cli.driver:preview", "Show what `up` would change."),
    "up": Target("runner_platform.cli.driver:up", "Deploy a stack."),
    "refresh": Target("runner_platform.cli.driver:refresh", "Read every resource of a stack back into its state."),
    "drift": Target("runner_platform.cli.driver:drift", "Show changes that were made behind the program's back."),
    "destroy": Target("runner_platform.cli.driver:destroy", "Take a stack down."),
    "outputs": Target("runner_platform.cli.driver:outputs", "Print a stack's outputs."),
    "unlock": Target("runner_platform.cli.driver:unlock", "Show a stack's locks, and remove dead ones."),
    "audit": Target("runner_platform.cli.driver:audit", "After a destroy, list everything that still exists."),
    "prove": Target("runner_platform.cli.prove:prove", "Try with real tokens who gets which role."),
    "image": Target("runner_platform.cli.image:app", "Write the build context of the runner image."),
    "import": Target(
        "runner_platform.cli.import_config:import_config", "Print the classes that would replace a GitLab runner."
    ),
    "bootstrap": Target("runner_platform.cli.bootstrap:bootstrap", "Bring up the foundation in an empty organisation."),
    "backend": Target("runner_platform.cli.bootstrap:backend", "Print the URL of the state backend."),
}


class CommandGroup(TyperGroup):
    """The group of all commands; it imports a command's module when the command runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.targets = COMMANDS | _extensions()
        self.commands = {name: TyperCommand(name, help=target.help) for name, target in self.targets.items()}
        """Names and help alone, for lists and completion."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command to run, with its arguments."""
        target = self.targets.get(args[0])
        if target is None:
            return super().resolve_command(ctx, args)
        return args[0], load_command(args[0], target), args[1:]


def _extensions() -> dict[str, Target]:
    return {
        extension.name: Target(extension.value, f"Commands of `{extension.value.partition('.')[0]}`.")
        for extension in entry_points(group=EXTENSIONS)
    }


def load_command(name: str, target: Target) -> Any:
    """Import a command's module; return the command of the library."""
    module, _, attribute = target.location.partition(":")
    function: Any = getattr(import_module(module), attribute)
    if isinstance(function, typer.Typer):
        return get_group(function)
    single = typer.Typer(add_completion=False)
    single.command(name)(function)
    return get_command(single)


app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(f"{DISTRIBUTION} {version(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """GitLab runners on EKS, with delegated deployment roles in every AWS account."""


def main() -> None:
    """Run the command line; errors that a person can mend end in a sentence, not in a traceback."""
    # The process ends: the interpreter's last search for cycles would take a second after a mock run.
    atexit.register(gc.freeze)
    try:
        app()
    except SettingsError as error:
        typer.echo(str(error), err=True)
        sys.exit(1)
    except WrongUseError as error:
        typer.echo(f"{DISTRIBUTION}: {error}", err=True)
        sys.exit(error.exit_code)
    except CommandError as error:
        typer.echo(str(error), err=True)
        sys.exit(error.exit_code)
