"""`jaxstake sensitivity`: exact derivatives of one component of the APR in every leaf."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from jaxstake.cli.common import (
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

COLUMNS = ("gradient", "elasticity")

Output = Annotated[str, typer.Option("--output", metavar="NAME", help="Component of the APR.")]
Leaves = Annotated[
    list[str] | None,
    typer.Option("--leaf", metavar="NAME", help="Only this leaf. Repeatable; default all."),
]
Hessian = Annotated[bool, typer.Option("--hessian", help="Second derivatives too.")]


def sensitivity_command(
    output: Output = "net",
    leaf: Leaves = None,
    hessian: Hessian = False,
    settings: Settings = None,
    scenario: ScenarioFile = None,
    fork: ForkName = None,
    snapshot: SnapshotDate = None,
    json: Json = False,
) -> None:
    """Print gradient and elasticity of one component of the APR, by leaf."""
    base = choose(snapshot=snapshot, file=scenario, fork=fork, settings=settings).scenario
    with bad_input():
        from jaxstake.analysis import sensitivity
        from jaxstake.core import leaves
        from jaxstake.economy.apr import apr

        table = sensitivity.table(apr, base, names=leaf or leaves.names(base), output=output)
        moving = table if leaf else sensitivity.table(apr, base, output=output)
        names = [str(name) for name in moving["leaf"].values]
        second = sensitivity.hessian(apr, base, names=names, output=output) if hessian else None
    if json:
        by_leaf = {key: dict(zip(table["leaf"].values, table[key].values, strict=True)) for key in COLUMNS}
        result = {"output": output, "value": table.attrs["value"], **by_leaf}
        print_json(result if second is None else {**result, "hessian": second})
        return
    _print_table(moving, output)
    if second is not None:
        _print_hessian(second, base)


def _print_table(table: Any, output: str) -> None:
    """Leaves by the size of their elasticity, those at zero last."""
    import numpy as np
    from rich.table import Table

    shown = Table(title=f"{output} = {float(table.attrs['value']):.4%} per year")
    for column, justify in (("leaf", "left"), ("value", "right"), ("unit", "left"), ("gradient", "right")):
        shown.add_column(column, justify=justify)  # type: ignore[arg-type]
    shown.add_column("elasticity", justify="right")
    shown.add_column("bp per +1 %", justify="right")
    for row in np.argsort(-np.abs(table["elasticity"].values), kind="stable"):
        line = table.isel(leaf=row)
        shown.add_row(
            str(line["leaf"].item()),
            f"{line['value'].item():,.8g}",
            str(line["unit"].item()),
            f"{line['gradient'].item():.4e}",
            f"{line['elasticity'].item():+.5f}",
            f"{1e4 * line['change_per_percent'].item():+.4f}",
        )
    console().print(shown)


def _print_hessian(second: dict[str, dict[str, Any]], base: Any) -> None:
    """The largest second-order effects of 1 % in two leaves."""
    from rich.table import Table

    from jaxstake.core import leaves

    at = {name: float(leaves.get(base, name)) for name in second}
    pairs = [
        (abs(scaled), first, other, scaled)
        for row, first in enumerate(second)
        for other in list(second)[row:]
        if (scaled := 1e-4 * at[first] * at[other] * float(second[first][other])) != 0
    ]
    shown = Table(title="Second derivatives, the 15 largest by effect")
    for column in ("leaf", "leaf"):
        shown.add_column(column)
    shown.add_column("second derivative", justify="right")
    shown.add_column("bp per +1 % in both", justify="right")
    for _, first, other, scaled in sorted(pairs, reverse=True)[:15]:
        shown.add_row(first, other, f"{float(second[first][other]):.4e}", f"{1e4 * scaled:+.6f}")
    console().print(shown)
