"""`jaxstake report`: a page of figures and tables about the yield of one scenario and a million around it."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli.common import (
    BadInputError,
    ForkName,
    Json,
    ScenarioFile,
    Settings,
    SnapshotDate,
    bad_input,
    choose,
    console,
    print_json,
    progress,
    writable_folder,
)

if TYPE_CHECKING:
    from jaxstake.report.build import Built

Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the page, its figures and its data.")]
MevData = Annotated[
    Path | None, typer.Option("--mev-data", metavar="FILE", help="CSV file with block payments in column payment_eth.")
]
Lanes = Annotated[int | None, typer.Option("--lanes", metavar="N", help="Scenarios in the sweep [1048576].")]


def report_command(
    out: Out,
    mev_data: MevData = None,
    lanes: Lanes = None,
    settings: Settings = None,
    scenario: ScenarioFile = None,
    fork: ForkName = None,
    snapshot: SnapshotDate = None,
    json: Json = False,
) -> None:
    """Write a self-contained page with the yield, its parts, its sensitivities and a sweep around it."""
    if lanes is not None and lanes < 1:
        raise BadInputError(f"--lanes must be at least 1, got {lanes}")
    choice = choose(snapshot=snapshot, file=scenario, fork=fork, settings=settings)
    writable_folder(out)
    with bad_input(ValueError, OSError), progress("report") as bar:
        from jaxstake.data import payments
        from jaxstake.report.build import DEFAULT_LANES, build

        built = build(
            choice.scenario,
            choice.day,
            out,
            lanes=DEFAULT_LANES if lanes is None else lanes,
            payments=None if mev_data is None else (mev_data.name, payments.read(mev_data)),
            command=shlex.join(["jaxstake", *sys.argv[1:]]),
            progress=None if bar is None else lambda step, done, total: bar(done, total),
        )
    if json:
        print_json({"paths": built.paths, "headline": built.headline})
    else:
        _print_table(built)


def _print_table(built: Built) -> None:
    from rich.table import Table

    table = Table(title=f"Ethereum staking yield, {built.headline['date']}", show_header=False)
    table.add_column()
    table.add_column(justify="right")
    for words, value in _rows(built.headline):
        table.add_row(words, value)
    out = console()
    out.print(table)
    for name, path in built.paths.items():
        out.print(f"{name}: {path}", soft_wrap=True)


def _rows(headline: Any) -> list[tuple[str, str]]:
    exit_wait = headline["exit_wait_days"]
    return [
        ("total stake", f"{headline['total_stake_eth']:,.0f} ETH"),
        ("net APR", f"{headline['net']:.3%}"),
        ("consensus, execution", f"{headline['consensus']:.3%}, {headline['execution']:.3%}"),
        ("snapshot: computed, reported", f"{headline['snapshot_computed']:.3%}, {headline['snapshot_reported']:.2%}"),
        ("scenarios, invalid", f"{headline['lanes']:,}, {headline['invalid_lanes']:,}"),
        ("net APR, 5 % to 95 % of them", f"{headline['net_p5']:.2%} to {headline['net_p95']:.2%}"),
        ("entry wait", f"{headline['entry_wait_days']:.1f} days"),
        ("exit wait", "none at this fork" if exit_wait is None else f"{exit_wait:.1f} days"),
    ]
