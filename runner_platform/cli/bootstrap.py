"""`runner-platform bootstrap` and `backend`: from an empty organisation to the first `up`, and where its state is then.

Owns arguments and output. Leaves out what is checked and made (`runner_platform.bootstrap`).
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Secrets(StrEnum):
    """Who encrypts the secrets of the stacks."""

    KEY = "key"
    PASSPHRASE = "passphrase"  # noqa: S105  # a choice, no passphrase


def bootstrap(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, and say what would be done; change nothing.")
    ] = False,
    secrets: Annotated[
        Secrets,
        typer.Option(help="Encrypt the stacks' secrets with the foundation's KMS key, or PULUMI_CONFIG_PASSPHRASE."),
    ] = Secrets.KEY,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for the first deployment's state.", show_default="~/.runner-platform/<organisation>"),
    ] = None,
) -> None:
    """Bring up the foundation in an empty organisation, move its state into its bucket, make the stacks' places there."""
    from config import load  # noqa: PLC0415  # same
    from runner_platform.bootstrap.steps import Bootstrap  # noqa: PLC0415  # see runner_platform.cli.main

    folder = work or Path.home() / ".runner-platform" / load.of_foundation().organization.id
    run = Bootstrap(
        work=folder.expanduser().resolve(),
        with_key=secrets is Secrets.KEY,
        dry_run=dry_run,
        say=lambda text: typer.echo(text, err=True),
    )
    run.run(os.environ)


def backend(
    foundation: Annotated[
        bool, typer.Option("--foundation", help="For who deploys the foundation: with its profiles.")
    ] = False,
) -> None:
    """Print the URL of the platform's state backend, for PULUMI_BACKEND_URL."""
    from config import load  # noqa: PLC0415  # same
    from runner_platform.bootstrap import state_backend  # noqa: PLC0415  # see runner_platform.cli.main

    typer.echo(state_backend.state_url(load.of_foundation(), "foundation" if foundation else "platform"))


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(bootstrap)
    app.command()(backend)
