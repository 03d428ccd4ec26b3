"""The commands `runner-platform sandbox start|stop|status|env|run|runners|reset`, installed by the entry point `runner_platform.commands`.

Standard output carries the result (export lines, the table, JSON), standard error everything else, so that
`eval "$(runner-platform sandbox env)"` is safe.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path  # noqa: TC003 - Typer reads the types
from typing import TYPE_CHECKING, Annotated

import typer

from runner_platform_sandbox import environment, lifecycle, lock, status, terminal
from runner_platform_sandbox.errors import INTERRUPTED, SandboxError
from runner_platform_sandbox.paths import Paths
from runner_platform_sandbox.terminal import sayer, show_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

RealPods = Annotated[
    bool, typer.Option("--real-pods", help="Run jobs in real pods, not as processes. Needs Linux and root.")
]

app = typer.Typer(name="sandbox", help="A cloud on this machine: AWS, GitLab and Kubernetes.", no_args_is_help=True)


@app.command()
def start() -> None:
    """Start the sandbox with its kept state, unless it runs."""
    with _reported() as console, lock.held(Paths.from_environment()):
        current = lifecycle.prepare(Paths.from_environment(), console)
        say = sayer(console)
        say(f"the sandbox runs: {len(current.processes) + 1} processes, AWS on 127.0.0.1:{current.ports.aws}")
        say('use it: eval "$(runner-platform sandbox env)"')


@app.command()
def stop() -> None:
    """End every process of the sandbox. Its files stay."""
    paths = Paths.from_environment()
    with _reported() as console, lock.held(paths):
        say = sayer(console)
        ended = lifecycle.stop(paths, say)
        say(f"{ended} processes ended; start again: `runner-platform sandbox start`" if ended else "nothing ran")


@app.command("status")
def show_status(
    *, as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")] = False
) -> None:
    """Show processes with ports and memory, and clusters with nodes and pods. Exit code 1 when something is not fine."""
    with _reported():
        report = status.read(Paths.from_environment())
        if as_json:
            typer.echo(json.dumps(report.document(), indent=2))
        else:
            terminal.console().print(status.render(report), crop=False)
        if not report.fine:
            raise typer.Exit(1)


@app.command()
def env() -> None:
    """Print export lines for `eval`: with them pulumi, aws, kubectl and helm talk to the sandbox."""
    with _reported():
        typer.echo(environment.shell(environment.variables(Paths.from_environment())), nl=False)


@app.command("run")
def run_pipeline(
    file: Annotated[
        Path | None,
        typer.Argument(help="Pipeline file or its folder, which is pushed whole. Default: one job per runner class."),
    ] = None,
    *,
    project: Annotated[
        str, typer.Option(help="Project in GitLab; made if it does not exist.")
    ] = "senncloud/deployments",
    ref: Annotated[str | None, typer.Option(help="Branch. Default: main if protected, else trial.")] = None,
    protected: Annotated[bool, typer.Option("--protected", help="Run on a protected branch.")] = False,
    job: Annotated[
        str | None, typer.Option(help="Run this job and those that it waits for; a manual one is started.")
    ] = None,
    stack: Annotated[str, typer.Option(help="Deployed stack whose runners take the jobs.")] = "dev",
    real_pods: RealPods = False,
) -> None:
    """Run a pipeline by the real runners of a deployed stack. Exit code 1 when it fails, 3 after Ctrl-C."""
    # Imported here because they bring Pulumi and GitLab's client along, and `sandbox env` has to be fast.
    from runner_platform_sandbox.run import pipeline_run  # noqa: PLC0415

    with _reported():
        order = pipeline_run.Order(
            file=file,
            project=project,
            ref=ref,
            protected=protected or file is None,
            job=job,
            stack=stack,
            real_pods=real_pods,
        )
        code = pipeline_run.run(Paths.from_environment(), order, terminal.console())
        if code:
            raise typer.Exit(code)


@app.command("runners")
def run_command(
    command: Annotated[list[str], typer.Argument(help="Command and arguments, after `--`.")],
    *,
    stack: Annotated[str, typer.Option(help="Deployed stack whose runners take jobs.")] = "dev",
    real_pods: RealPods = False,
) -> None:
    """Run a command while the real runners of a stack take jobs: `sandbox runners -- runner-platform prove --stack dev --by pipeline`."""
    from runner_platform_sandbox.run import command_run  # noqa: PLC0415

    with _reported() as console:
        code = command_run.run(Paths.from_environment(), stack, command, console, real_pods=real_pods)
        if code:
            raise typer.Exit(code)


@app.command()
def reset(*, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Stop and start clean: remove AWS, clusters and the states of all stacks. Built tools stay."""
    paths = Paths.from_environment()
    with _reported() as console, lock.held(paths):
        say = sayer(console)
        say(f"this removes everything in {paths.root}, with the states of the stacks")
        if not yes:
            typer.confirm("Remove it?", abort=True, err=True)
        lifecycle.reset(paths, say)
        say("the sandbox is empty")


@contextlib.contextmanager
def _reported() -> Iterator[Console]:
    """Turn an error into a sentence on standard error and an exit code."""
    console = terminal.console(stderr=True)
    try:
        yield console
    except SandboxError as error:
        show_error(console, error)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        console.print("interrupted")
        raise typer.Exit(INTERRUPTED) from None
