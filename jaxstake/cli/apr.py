"""`jaxstake apr`: the annual percentage rate, component by component."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jaxstake.cli.common import (
    Choice,
    ForkName,
    Json,
    ScenarioFile,
    Settings,
    SnapshotDate,
    bad_input,
    choose,
    console,
    print_json,
)

if TYPE_CHECKING:
    from jaxstake.economy.apr import Apr

SUMS = ("consensus", "execution", "gross", "net")


def apr_command(
    settings: Settings = None,
    scenario: ScenarioFile = None,
    fork: ForkName = None,
    snapshot: SnapshotDate = None,
    json: Json = False,
) -> None:
    """Print the expected APR of one validator, component by component."""
    choice = choose(snapshot=snapshot, file=scenario, fork=fork, settings=settings)
    with bad_input():
        from jaxstake.economy.apr import apr

        rate = apr(choice.scenario)
    if json:
        print_json(vars(rate))
    else:
        _print_table(rate, choice)


def _print_table(rate: Apr, choice: Choice) -> None:
    """Parts and sums in percent, and in ETH per year for this validator."""
    from rich.table import Table

    from jaxstake.core import leaves
    from jaxstake.economy.apr import annual_yield

    validator, network = choice.scenario.validator, choice.scenario.network
    balance = float(validator.effective_balance_eth)
    table = Table(title=f"APR of a validator of {balance:g} ETH, {float(network.total_stake_eth):,.0f} ETH at stake")
    table.add_column("component")
    table.add_column("% per year", justify="right")
    table.add_column("ETH per year", justify="right")
    table.add_column("meaning")
    meanings = leaves.meanings(rate)
    for name, value in vars(rate).items():
        share = float(value) + 0.0
        if name == SUMS[0]:
            table.add_section()
        style = "bold" if name in SUMS else None
        table.add_row(name, f"{100 * share:.5f}", f"{balance * share:.7f}", meanings[name], style=style)
    out = console()
    out.print(table)
    yields = [f"swept (0x01) {float(annual_yield(rate, balance_eth=balance, compounding=False)):.4%}"]
    if balance > 1.0:
        yields.append(f"compounding (0x02) {float(annual_yield(rate, balance_eth=balance, compounding=True)):.4%}")
    out.print(f"Yield after a year: {', '.join(yields)}. Network of {choice.day.date.isoformat()}.")
