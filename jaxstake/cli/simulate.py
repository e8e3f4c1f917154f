"""`jaxstake simulate`: the network validator by validator over weeks or years, by the exact rules."""

from __future__ import annotations

import contextlib
import hashlib
import json as json_module
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jaxstake import __version__
from jaxstake.cli.common import BadInputError, Json, bad_input, console, print_json, progress, writable_folder

if TYPE_CHECKING:
    from jaxstake.beacon.records import Record
    from jaxstake.beacon.simulation import Simulation
    from jaxstake.data.simulation_file import Plan
    from jaxstake.data.simulation_setup import Setup

CHECKPOINT, TABLE, STORE, LOCK = "checkpoint.npz", "records.csv", "records.zarr", ".lock"
SHARE_OF_TIME = 0.1
"""Most of the time that checkpoints may take: after a long one the next windows go without."""

Config = Annotated[
    str,
    typer.Argument(
        metavar="CONFIG",
        help="TOML file, or one that ships: normal-year, client-bug, supermajority-bug, mass-slashing, consolidation. "
        "`pydoc jaxstake.data.simulation_file` has all keys.",
    ),
]
Out = Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for records, figures and the checkpoint.")]
Validators = Annotated[int | None, typer.Option("--validators", metavar="N", help="Validators at the start.")]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Length of the simulation.")]
Seed = Annotated[int | None, typer.Option("--seed", metavar="N", help="Seed of every random draw.")]
Trace = Annotated[
    list[int] | None,
    typer.Option("--trace", metavar="ROW", help="Validator to record in the dataset. Repeatable."),
]
Every = Annotated[int | None, typer.Option("--record-every", metavar="N", help="Epochs from one record to the next.")]


def simulate_command(
    config: Config,
    out: Out,
    validators: Validators = None,
    epochs: Epochs = None,
    seed: Seed = None,
    record_every: Every = None,
    trace: Trace = None,
    json: Json = False,
) -> None:
    """Simulate the network; after a kill the same command goes on to the same result."""
    import jax

    jax.config.update("jax_enable_x64", True)
    overrides = {"validators": validators, "epochs": epochs, "seed": seed, "record_every": record_every}
    overrides |= {"traced": trace or None}
    with bad_input(ValueError, OSError):
        from jaxstake.data import simulation_file, simulation_notes, simulation_setup

        plan = simulation_file.read(config, overrides=overrides)
        try:
            setup = simulation_setup.build(plan)
        except ValueError as error:
            raise ValueError(f"{config}: {error}") from error
        with _alone(out):
            simulation, records, resumed = _start(plan, setup, out)
            if 0 < resumed < setup.epochs:
                typer.echo(f"goes on after {resumed:,} epochs", err=True)
            for note in simulation_notes.notes(plan):
                typer.echo(f"note: {note}", err=True)
            complete = resumed == setup.epochs
            if not complete:
                simulation, records = _run(plan, setup, simulation, records, out)
            assert records is not None
            found = _results(plan, setup, simulation, records, out, written=complete)
    found = {"title": plan.title, "resumed_from_epoch": resumed, "complete_before": complete, **found}
    if json:
        print_json(found)
    else:
        _print(found, out)


@contextlib.contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Hold the folder. A system with locks of files lets go of it when the process ends, however it ends."""
    from filelock import FileLock, Timeout

    lock = FileLock(writable_folder(out) / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise BadInputError(f"another process is working in {out}; wait for it or choose another folder") from None
    except NotImplementedError:
        raise BadInputError(f"{out} is on a file system without locks; choose another folder") from None
    try:
        yield
    finally:
        lock.release()


def _identity(plan: Plan) -> dict[str, Any]:
    """What decides the result: the plan, and whose programs compute it."""
    import jax

    from jaxstake.data import simulation_file

    return {"version.jaxstake": __version__, "version.jax": jax.__version__, **simulation_file.identity(plan)}


def _start(plan: Plan, setup: Setup, out: Path) -> tuple[Simulation, Record | None, int]:
    """A new simulation, or the checkpoint of this one, and how many epochs it has behind it."""
    from jaxstake.beacon import simulation
    from jaxstake.data import simulation_checkpoint

    begun = simulation.begin(setup.rules, setup.state, setup.behaviour, key=setup.key)
    path = out / CHECKPOINT
    if path.exists():
        saved, records = simulation_checkpoint.read(path, like=begun, identity=_identity(plan))
        return saved, records, int(saved.elapsed)
    from jaxstake.report.simulation_figures import NAMES

    for name in (TABLE, STORE, *(f"{name}.png" for name in NAMES)):
        if (out / name).exists():
            raise BadInputError(f"{out / name} is there without a {CHECKPOINT}; choose another folder or remove it")
    return begun, None, 0


def _run(
    plan: Plan, setup: Setup, simulation: Simulation, records: Record | None, out: Path
) -> tuple[Simulation, Record]:
    """To the end, with a bar and checkpoints."""
    from jaxstake.beacon.simulation import simulate
    from jaxstake.data import simulation_checkpoint

    identity, path, done = _identity(plan), out / CHECKPOINT, int(simulation.elapsed)
    kept, free_from = records, 0.0
    with progress("simulate") as report:

        def after_window(now: Simulation, record: Record) -> None:
            nonlocal kept, free_from
            kept, elapsed = simulation_checkpoint.joined(kept, record), int(now.elapsed)
            started = time.monotonic()
            if elapsed == setup.epochs or started >= free_from:
                simulation_checkpoint.write(path, now, kept, identity=identity)
                ended = time.monotonic()
                free_from = ended + (ended - started) * (1 / SHARE_OF_TIME - 1)
            if report is not None:
                report(elapsed, setup.epochs)

        if report is not None:
            report(done, setup.epochs)
        try:
            simulation, _ = simulate(
                setup.rules,
                simulation,
                setup.behaviour,
                n_epochs=setup.epochs - done,
                key=setup.key,
                record_every=setup.record_every,
                sample_block_value=setup.sample_block_value,
                traced=setup.traced,
                observer=after_window,
            )
        except KeyboardInterrupt:
            if path.exists():
                typer.echo(f"jaxstake: stopped; the same command goes on from {path}", err=True)
            raise typer.Exit(130) from None
    assert kept is not None
    return simulation, kept


def _results(
    plan: Plan, setup: Setup, simulation: Simulation, records: Record, out: Path, *, written: bool
) -> dict[str, Any]:
    """Write table, dataset and figures, those that are missing if a run before has `written` them; a few numbers."""
    import numpy as np

    from jaxstake.data.simulation_values import epochs_per_day
    from jaxstake.report import simulation_figures, simulation_table
    from jaxstake.report.dataset_file import replace_store
    from jaxstake.report.style import style

    per_day = epochs_per_day(plan.fork, plan.preset)
    table = simulation_table.columns(records, epochs_per_day=per_day)
    paths = {"table": out / TABLE, "dataset": out / STORE}
    paths |= {name: out / f"{name}.png" for name in simulation_figures.NAMES}
    missing = {name for name, path in paths.items() if not written or not path.exists()}
    if "table" in missing:
        _replace_text(paths["table"], simulation_table.to_csv(table))
    if "dataset" in missing:
        identity = json_module.dumps(_identity(plan), sort_keys=True)
        about = {"title": plan.title, "configuration": identity}
        dataset = simulation_table.to_dataset(table, attributes=about, traced=records.traced, rows=setup.traced)
        dataset = dataset.assign(simulation_table.incomes(simulation))
        replace_store(paths["dataset"], dataset, identity=hashlib.sha256(identity.encode()).hexdigest())
    if missing - {"table", "dataset"}:
        figures = simulation_figures.every(
            np.asarray(table["day"].values), records, epochs_per_day=per_day, rows=setup.traced
        )
        for name, figure in figures.items():
            with style():
                figure.savefig(paths[name], dpi=150)
    found = simulation_table.summary(
        simulation, records, epochs_per_day=per_day, slots_per_epoch=setup.rules.slots_per_epoch
    )
    return {**found, "paths": {**paths, "checkpoint": out / CHECKPOINT}}


def _replace_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    unfinished = path.with_name(f"{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _print(found: dict[str, Any], out: Path) -> None:
    from rich.table import Table

    screen = console()
    screen.print(f"{found['title']}: {found['epochs']:,} epochs, {found['days']:,.4g} days", soft_wrap=True)
    table = Table(show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    for words, value in _rows(found):
        table.add_row(words, value)
    screen.print(table)
    if found["overflowed"]:
        screen.print("a queue or the registry ran out of room: the numbers after that are wrong")
    if found["complete_before"]:
        screen.print(f"{out} holds this simulation already, complete; nothing was computed", soft_wrap=True)
    elif found["resumed_from_epoch"]:
        screen.print(f"went on after {found['resumed_from_epoch']:,} epochs")
    for name, path in found["paths"].items():
        screen.print(f"{name.replace('_', ' ')}: {path}", soft_wrap=True)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What the table says, a row each."""
    eth = {name: f"{value:,.3f} ETH" for name, value in found.items() if name.endswith("_eth")}
    share = {name: f"{100 * value:.3f} %" for name, value in found.items() if isinstance(value, float)}
    crisis = found["leak_epochs"] > 0 or found["slashed_validators"] > 0
    paces = {
        "consensus return a year at that pace": share["consensus_rate_per_year"],
        "block values over stake, a year at that pace": share["execution_rate_per_year"],
    }
    return [
        ("validators at the start", f"{found['validators_at_start']:,}"),
        ("active at the end", f"{found['active_validators']:,}"),
        ("became active", f"{found['entered_validators']:,}"),
        ("ceased to be active", f"{found['left_validators']:,}"),
        ("slashed", f"{found['slashed_validators']:,}"),
        ("balances at the start", eth["balance_at_start_eth"]),
        ("active stake at the end", eth["active_stake_eth"]),
        ("stake with the right target, mean", share["target_share_mean"]),
        ("in the worst window", share["target_share_lowest_window"]),
        ("empty slots", share["empty_slots_share"]),
        ("epochs in an inactivity leak", f"{found['leak_epochs']:,}"),
        ("longest since finality, epochs", f"{found['longest_since_finality_epochs']:,}"),
        ("issued", eth["issued_eth"]),
        ("burnt in penalties", eth["burnt_eth"]),
        ("of it by the inactivity leak", eth["inactivity_penalties_eth"]),
        ("of it for slashings", f"{found['slashing_penalties_eth'] + found['correlation_penalties_eth']:,.3f} ETH"),
        ("block values", eth["block_value_eth"]),
        ("consensus return since the start", share["consensus_return"]),
        ("block values over stake, since the start", share["execution_return"]),
        *(() if crisis else paces.items()),  # nobody has a crisis all year
        ("income of a validator, median", f"{found['income_eth_p50']:,.6f} ETH"),
        ("one in twenty has less than", f"{found['income_eth_p5']:,.6f} ETH"),
        ("one in twenty has more than", f"{found['income_eth_p95']:,.6f} ETH"),
    ]
