"""`jaxstake sweep`: the APR over a grid or a list of scenarios that a file describes."""

from __future__ import annotations

import hashlib
import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake.cli import sweep_config
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
    progress,
    writable_folder,
)
from jaxstake.cli.sweep_config import SweepConfig

if TYPE_CHECKING:
    import xarray

    from jaxstake.economy.scenario import Scenario
    from jaxstake.report.summary import Summary

Config = Annotated[Path, typer.Argument(metavar="CONFIG", help="TOML file with axes, outputs and mode.")]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for sweep.zarr and summary.csv.")]


def sweep_command(
    config: Config,
    out: Out,
    settings: Settings = None,
    scenario: ScenarioFile = None,
    fork: ForkName = None,
    snapshot: SnapshotDate = None,
    json: Json = False,
) -> None:
    """Evaluate the APR over many scenarios; run again after a kill, it continues."""
    plan = sweep_config.read(config)
    base = choose(snapshot=snapshot, file=scenario, fork=fork, settings=settings, tables=plan.scenario).scenario
    paths = {"store": writable_folder(out) / "sweep.zarr", "summary": out / "summary.csv"}
    from jaxstake.report import summary

    if plan.reduce:
        dataset = _reduced(plan, base, paths["store"])
        found = summary.reductions(dataset)
    else:
        dataset = _run(plan, base, store=paths["store"])
        found = summary.describe(dataset)
    summary.write_csv(paths["summary"], found)
    counts = {key: int(dataset.attrs[key]) for key in ("lanes", "invalid_lanes")}
    if json:
        print_json({**counts, "paths": paths, "reductions": found})
    else:
        _print_table(found, counts, paths)


def _run(plan: SweepConfig, base: Scenario, **to: Any) -> xarray.Dataset:
    from jaxstake.analysis.sweep import sweep
    from jaxstake.economy.apr import apr

    with bad_input(ValueError, OSError), progress("sweep") as report:
        return sweep(
            apr,
            base,
            plan.axes,
            mode=plan.mode,
            outputs=plan.outputs,
            dtype=plan.dtype,
            chunk=plan.chunk,
            progress=report,
            **to,
        )


def _reduced(plan: SweepConfig, base: Scenario, path: Path) -> xarray.Dataset:
    """Keep statistics only. A result of the same sweep is replaced, anything else refused."""
    from jaxstake.core import leaves
    from jaxstake.report.dataset_file import check_replaceable, replace_store

    everything = {**sweep_config.identity(plan), "scenario": {k: float(v) for k, v in leaves.as_dict(base).items()}}
    identity = hashlib.sha256(json_module.dumps(everything, sort_keys=True).encode()).hexdigest()
    with bad_input():
        check_replaceable(path, identity=identity)
    dataset = _run(plan, base, reduce=plan.reduce)
    replace_store(path, dataset, identity=identity)
    return dataset


def _print_table(found: Summary, counts: dict[str, int], paths: dict[str, Path]) -> None:
    from rich.table import Table

    shown = [
        name for name in ("mean", "std", "min", "p5", "p50", "p95", "max") if any(name in row for row in found.values())
    ]
    table = Table(title=f"{counts['lanes']:,} scenarios, {counts['invalid_lanes']:,} invalid; % per year")
    table.add_column("output")
    for name in shown:
        table.add_column(name, justify="right")
    for output, row in found.items():
        table.add_row(output, *(f"{100 * row[name] + 0.0:.4f}" if name in row else "" for name in shown))
    out = console()
    out.print(table)
    for name, path in paths.items():
        out.print(f"{name}: {path}", soft_wrap=True)
