"""Workload: simulations by the exact engine, a lane being one validator in one epoch.

Who proposes, votes and signs is drawn, and paid; withdrawals are swept and the epoch transition follows. There is one
record at the end, or in a year one for every week. Every run begins anew, with checks, a committee and a copy of the
state. In the network nobody enters or leaves, but for a few who are punished in the first epochs, so nearly all epochs
are quiet; in a busy one a deposit and an exit come every epoch. The plain step (`plain_epoch.py`) runs beside it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import epoch, plain_epoch
from benchmarks.setting import Setting
from benchmarks.table import Row
from benchmarks.timing import Task
from jaxstake.beacon import records, rules, simulation
from jaxstake.beacon.arrays import state_from_arrays
from jaxstake.beacon.behaviour import Behaviour, Deposits, Event
from jaxstake.beacon.state import BeaconState

BUSY = ((100_000, 450), (1_000_000, 90))
SIZES = ((100_000, 1_350), (1_000_000, 450), (2_000_000, 450))
"""Validators and epochs, of busy networks and of others."""
BEHAVIOUR = Behaviour(source=0.998, target=0.995, head=0.985, sync=0.98, proposal=0.99)
WEEK, YEAR = 7 * 225, 82_125


def tasks(setting: Setting) -> list[Task]:
    """Simulations of each size, the plain step for as many, and busy networks."""
    sizes, busy = (SIZES, BUSY) if setting.lanes >= epoch.FULL_RUN else (((10_000, 8),), ((10_000, 8),))
    found = [task for count, epochs in sizes for task in (_simulated(count, epochs), _plain(count, epochs))]
    return found + [_simulated(count, epochs, busy=True) for count, epochs in busy]


def years(counts: tuple[int, ...], n_epochs: int, *, device: str) -> list[Row]:
    """A year for each number of validators, run once after a single epoch that compiles; and what memory it takes."""
    return [_year(count, n_epochs, device) for count in counts]


def values(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Lognormal block values, ETH."""
    return jnp.exp(0.9 * jax.random.normal(key, shape) - 2.8)


def first_slot(arrays: epoch.Arrays) -> epoch.Arrays:
    """The same network in the first slot of its epoch."""
    slots = rules.get(epoch.FORK).slots_per_epoch
    return arrays | {"slot": arrays["slot"] // slots * slots}


def _start(count: int, *, more: int = 0) -> BeaconState:
    arrays = first_slot(epoch.network(count))
    return state_from_arrays(rules.get(epoch.FORK), arrays, validator_capacity=count + more, queue_capacity=more)


def _run(start: BeaconState, n_epochs: int, seed: int, *, every: int | None = None, behaviour: Any = BEHAVIOUR) -> Any:
    end, _ = simulation.simulate(
        rules.get(epoch.FORK),
        start,
        behaviour,
        n_epochs=n_epochs,
        key=jax.random.key(seed),
        record_every=every,
        sample_block_value=values,
    )
    return jax.block_until_ready(end)


def _work(count: int, epochs: int) -> str:
    return f"simulate, {count:,} validators, {epochs:,} epochs"


def _simulated(count: int, epochs: int, *, busy: bool = False) -> Task:
    """`simulate` from the same network each time."""
    behaviour = _busy(epochs) if busy else BEHAVIOUR
    with jax.enable_x64(True):
        start = _start(count, more=epochs if busy else 0)

    def once(turn: int) -> Any:
        with jax.enable_x64(True):
            return _run(start, epochs, turn, behaviour=behaviour)

    return Task(f"{_work(count, epochs)}{', busy' if busy else ''}", "jaxstake", count * epochs, 0, once)


def _busy(epochs: int) -> Behaviour:
    """A deposit and an exit in every epoch."""
    exits = Event(first=1_000, count=epochs, from_epoch=0, per_epoch=1)
    deposits = Deposits(from_epoch=0, to_epoch=epochs, amount=32 * 10**9, per_epoch=1)
    return dataclasses.replace(BEHAVIOUR, exits=(exits,), deposits=(deposits,))


def _plain(count: int, epochs: int) -> Task:
    """The plain step from the same network."""
    arrays = epoch.network(count)
    with jax.enable_x64(True):
        numbers = [jnp.asarray(arrays[name].astype(np.int64)) for name in plain_epoch.COLUMNS]
        start = (*numbers, jnp.asarray(arrays["previous_epoch_participation"]))

    def once(turn: int) -> Any:
        with jax.enable_x64(True):
            r, key, copy = rules.get(epoch.FORK), jax.random.key(turn), tuple(map(jnp.array, start))
            return jax.block_until_ready(plain_epoch.run(r, copy, BEHAVIOUR, jnp.asarray(epochs), key))

    return Task(_work(count, epochs), "jaxstake, plain step", count * epochs, 0, once)


def _year(count: int, n_epochs: int, device: str) -> Row:
    with jax.enable_x64(True):
        start = _start(count)
        first, warm = (_seconds(lambda: _run(start, 1, 0)) for _ in range(2))
        seconds = _seconds(lambda: _run(start, n_epochs, 0, every=WEEK))
        peak = _memory(start)
    return Row(
        work=f"simulate, {count:,} validators, {n_epochs:,} epochs, a record every {WEEK:,}",
        by="jaxstake, once",
        device=device,
        lanes=count * n_epochs,
        compile_s=max(0.0, first - warm),
        run_s=seconds,
        lanes_per_s=count * n_epochs / seconds,
        peak_mib=peak / 2**20,
    )


def _seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _memory(start: BeaconState) -> int:
    """Bytes that the compiled window takes: what it is given, what it returns elsewhere, and what it needs between."""
    r, key = rules.get(epoch.FORK), jax.random.key(0)
    behaviour = jax.tree.map(jnp.asarray, BEHAVIOUR)
    lowered = simulation.window.lower(
        r,
        simulation.begin(r, start, BEHAVIOUR, key=key),
        behaviour,
        jnp.asarray(1),
        key,
        sample_block_value=values,
        levels=records.LEVELS,
        traced=(),
    )
    found = lowered.compile().memory_analysis()
    return (
        found.argument_size_in_bytes + found.output_size_in_bytes - found.alias_size_in_bytes + found.temp_size_in_bytes
    )
