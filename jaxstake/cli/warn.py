"""`jaxstake warn`: which thresholds of the staking system are near, and which levers move them."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.common import (
    BadInputError,
    ForkName,
    Json,
    Settings,
    bad_input,
    console,
    flatten,
    pairs,
    print_json,
    with_numbers,
)

if TYPE_CHECKING:
    from jaxstake.microstaking.risk_scenario import WarningScenario
    from jaxstake.microstaking.risk_warnings import RiskWarning

FAILED = 3
"""Exit code of `--fail-on`."""


class Worst(StrEnum):
    """States that `--fail-on` may name."""

    near = "near"
    breached = "breached"


LeafFile = Annotated[
    Path | None, typer.Option("--scenario", metavar="FILE", help="TOML file with the leaves that differ.")
]
StakeFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--stakes",
        metavar="FILE",
        help="CSV file of owners: stake or effective_balance_eth, and count or owners. Repeatable, read as one list.",
    ),
]
Near = Annotated[float, typer.Option("--near", metavar="FRACTION", help="Share of a threshold that counts as near.")]
FailOn = Annotated[
    Worst | None, typer.Option("--fail-on", help=f"End with exit code {FAILED} if a warning is in this state or worse.")
]


def warn_command(
    settings: Settings = None,
    scenario: LeafFile = None,
    stakes: StakeFiles = None,
    fork: ForkName = None,
    near: Near = 0.2,
    fail_on: FailOn = None,
    json: Json = False,
) -> None:
    """Print how far operators, queues, the token's market and security are from their thresholds, and why."""
    import jax

    jax.config.update("jax_enable_x64", True)
    with bad_input():
        from jaxstake.data import mainnet
        from jaxstake.microstaking import risk_warnings
        from jaxstake.protocol import forks

        name = fork or mainnet.newest().fork
        chosen = _scenario(stakes, scenario, settings)
        found = risk_warnings.warn(chosen, fork=forks.get(name), near=near)
    if json:
        print_json(_as_dict(found, name, near))
    else:
        _print_table(found, name, near)
    worse = {Worst.near: ("near", "breached"), Worst.breached: ("breached",)}
    if fail_on is not None and any(warning.state in worse[fail_on] for warning in found):
        raise typer.Exit(FAILED)


def _scenario(stakes: list[Path] | None, file: Path | None, settings: list[str] | None) -> WarningScenario:
    """The default, with listed operators, the leaves of a file, those of the command line, the later the stronger."""
    import dataclasses

    from jaxstake.microstaking.risk_scenario import WarningScenario, list_operators

    scenario = WarningScenario()
    if stakes:
        from jaxstake.data import stakes as reader

        listed = reader.read(*stakes)
        scenario = dataclasses.replace(scenario, operators=list_operators(listed.stake_eth, listed.owners))
    if file is not None:
        try:
            scenario = _with_leaves(scenario, _toml(file))
        except ValueError as error:
            raise ValueError(f"{file}: {error}") from None
    return _with_leaves(scenario, pairs(settings))


def _toml(file: Path) -> dict[str, Any]:
    import tomllib

    try:
        return flatten(tomllib.loads(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise BadInputError(f"cannot read {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 text: {error.reason} at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"not valid TOML: {error}") from None


def _with_leaves(scenario: WarningScenario, values: Mapping[str, Any]) -> WarningScenario:
    """The scenario with named numbers replaced, all in their domains."""
    from jaxstake.core import leaves

    for name, value in leaves.as_dict(scenario).items():
        if name in values and getattr(value, "ndim", 0):
            raise ValueError(f"{name} is a list: give it by --stakes")
    return with_numbers(scenario, values)


def _as_dict(found: list[RiskWarning], fork: str, near: float) -> dict[str, Any]:
    from jaxstake.microstaking.risk_scenario import ORIGINS

    shown = []
    for warning in found:
        one: dict[str, Any] = {key: value for key, value in vars(warning).items() if key != "levers"}
        for column in ("gradient", "elasticity", "change_per_percent"):
            one[column] = {lever.name: getattr(lever, column) for lever in warning.levers}
        shown.append(one)
    states = [warning.state for warning in found]
    counts = {state: states.count(state) for state in ("breached", "near", "safe")}
    return {"fork": fork, "near": near, "states": counts, "warnings": shown, "default_origins": dict(ORIGINS)}


def _print_table(found: list[RiskWarning], fork: str, near: float) -> None:
    """Warnings, the breached first and then by how near they are, with the two strongest levers of each."""
    from rich.table import Table

    from jaxstake.microstaking.risk_scenario import ORIGINS

    colours = {"breached": "bold red", "near": "yellow", "safe": "green"}
    shown = Table(title=f"Risk warnings, {fork}; near is within {near:.0%} of the threshold")
    for heading in (
        "warning",
        "value",
        "threshold",
        "margin",
        "unit",
        "state",
        "margin per +1 % of the strongest levers",
    ):
        shown.add_column(heading, justify="right" if heading in ("value", "threshold", "margin") else "left")
    rank = list(colours)
    for warning in sorted(found, key=lambda w: (rank.index(w.state), w.relative)):
        shown.add_row(
            warning.name,
            f"{warning.value:,.5g}",
            f"{'<' if warning.safe == 'below' else '>'} {warning.threshold:,.5g}",
            f"{warning.margin:+,.4g}",
            "" if warning.unit == "1" else warning.unit,
            f"[{colours[warning.state]}]{warning.state}[/]",
            ", ".join(
                f"{lever.name} {lever.change_per_percent:+.3g}"
                for lever in warning.levers[:2]
                if not lever.name.startswith("thresholds.")
            ),
        )
    out = console()
    out.print(shown)
    out.print("Defaults: " + "; ".join(f"{name} ({origin})" for name, origin in ORIGINS.items()))
