"""`jaxstake calibrate`: policies and models fitted with optax, each with what the data cannot tell."""

from __future__ import annotations

import typer
from typer.core import TyperGroup

from jaxstake.cli.calibrate.min_stake import min_stake_command
from jaxstake.cli.calibrate.queue import queue_command
from jaxstake.cli.calibrate.scoring import scoring_command

calibrate = typer.Typer(
    cls=TyperGroup, help="Fit a policy or a model, and say how well: convergence, intervals, what is not identified."
)


@calibrate.callback(invoke_without_command=True)
def calibrate_root(context: typer.Context) -> None:
    """Fit a policy or a model, and say how well: convergence, intervals, what is not identified."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


calibrate.command("min-stake")(min_stake_command)
calibrate.command("queue")(queue_command)
calibrate.command("scoring")(scoring_command)
