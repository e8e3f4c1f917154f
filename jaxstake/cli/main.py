"""The command `jaxstake`."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from jaxstake import __version__
from jaxstake.cli.apr import apr_command
from jaxstake.cli.articles import articles
from jaxstake.cli.calibrate import calibrate
from jaxstake.cli.common import BadInputError
from jaxstake.cli.fit_mev import fit_mev_command
from jaxstake.cli.luck import luck_command
from jaxstake.cli.report import report_command
from jaxstake.cli.sensitivity import sensitivity_command
from jaxstake.cli.simulate import simulate_command
from jaxstake.cli.sweep import sweep_command
from jaxstake.cli.warn import warn_command

USAGE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What Typer raises for a wrong option or argument; its home differs between versions."""


class OneLineErrors(TyperGroup):
    """Commands whose bad input ends in exit code 2 and one line on standard error."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        """Run a command line; with `standalone_mode` end the process with its exit code."""
        if not standalone_mode:
            return super().main(*args, standalone_mode=False, **extra)
        try:
            code = super().main(*args, standalone_mode=False, **extra)
        except BadInputError as error:
            message = str(error)
        except USAGE_ERROR as error:
            message = error.format_message()  # type: ignore[attr-defined]
        except typer.Abort:
            sys.exit(130)
        else:
            sys.exit(code if isinstance(code, int) else 0)
        typer.echo(f"jaxstake: {' '.join(message.split())}", err=True)
        sys.exit(2)


app = typer.Typer(
    cls=OneLineErrors,
    help="Ethereum staking yields: computed, differentiated, swept and reported.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("apr")(apr_command)
app.command("sweep")(sweep_command)
app.command("sensitivity")(sensitivity_command)
app.command("report")(report_command)
app.command("warn")(warn_command)
app.command("fit-mev")(fit_mev_command)
app.command("luck")(luck_command)
app.command("simulate")(simulate_command)
app.add_typer(articles, name="articles")
app.add_typer(calibrate, name="calibrate")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Ethereum staking yields: computed, differentiated, swept and reported."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the command line and end the process with its exit code."""
    app(prog_name="jaxstake")
