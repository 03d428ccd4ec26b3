"""`runner-platform bootstrap` and `backend`: from an empty organisation to the first `up`, and the place of its state.

Owns arguments and output; the work is in `runner_platform.bootstrap`.
"""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from config import load
from runner_platform.bootstrap import state_backend
from runner_platform.bootstrap.steps import Bootstrap


class Secrets(StrEnum):
    """Encryption of the stacks' secrets."""

    KEY = "key"
    PASSPHRASE = "passphrase"  # noqa: S105  # a choice, no passphrase


def bootstrap(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check, and list the steps; change nothing.")] = False,
    secrets: Annotated[
        Secrets,
        typer.Option(help="Encrypt the stacks' secrets with the foundation's KMS key, or PULUMI_CONFIG_PASSPHRASE."),
    ] = Secrets.KEY,
    work: Annotated[
        Path | None,
        typer.Option(help="Folder for the first deployment's state.", show_default="~/.runner-platform/<organisation>"),
    ] = None,
) -> None:
    """Bring up the foundation in an empty organisation, move the state into the foundation's bucket, create the stacks there."""
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
        bool, typer.Option("--foundation", help="With the profiles of the foundation's operators.")
    ] = False,
) -> None:
    """Print the URL of the platform's state backend, for PULUMI_BACKEND_URL."""
    typer.echo(state_backend.state_url(load.of_foundation(), "foundation" if foundation else "platform"))
