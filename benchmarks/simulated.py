"""Workload: simulations by the exact engine, a lane being one validator in one epoch.

Everything is drawn: who proposes, votes and signs. It is paid, withdrawals are swept, the epoch transition follows,
and one record is made at the end, or in a year one for every week. The plain step (`plain_epoch.py`) runs beside it.
"""

from __future__ import annotations

import time
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
from jaxstake.beacon.behaviour import Behaviour
from jaxstake.beacon.state import BeaconState

SIZES = ((100_000, 1_350), (1_000_000, 450), (2_000_000, 450))
"""Validators and epochs."""
BEHAVIOUR = Behaviour(source=0.998, target=0.995, head=0.985, sync=0.98, proposal=0.99)
WEEK, YEAR = 7 * 225, 82_125


def tasks(setting: Setting) -> list[Task]:
    """Days for each number of validators, and the plain step for as many."""
    sizes = SIZES if setting.lanes >= epoch.FULL_RUN else ((10_000, 8),)
    return [task for count, epochs in sizes for task in (_simulated(count, epochs), _plain(count, epochs))]


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


def _start(count: int) -> BeaconState:
    return state_from_arrays(rules.get(epoch.FORK), first_slot(epoch.network(count)))


def _run(start: BeaconState, n_epochs: int, seed: int, *, every: int | None = None) -> Any:
    end, _ = simulation.simulate(
        rules.get(epoch.FORK),
        start,
        BEHAVIOUR,
        n_epochs=n_epochs,
        key=jax.random.key(seed),
        record_every=every,
        sample_block_value=values,
    )
    return jax.block_until_ready(end)


def _work(count: int, epochs: int) -> str:
    return f"simulate, {count:,} validators, {epochs:,} epochs"


def _simulated(count: int, epochs: int) -> Task:
    """`simulate` from the same network each time."""
    with jax.enable_x64(True):
        start = _start(count)

    def once(turn: int) -> Any:
        with jax.enable_x64(True):
            return _run(start, epochs, turn)

    return Task(_work(count, epochs), "jaxstake", count * epochs, 0, once)


def _plain(count: int, epochs: int) -> Task:
    """The plain step from the same network."""
    arrays = epoch.network(count)
    columns = [arrays[name].astype(np.int64) for name in ("balances", "effective_balance", "inactivity_scores")]

    def once(turn: int) -> Any:
        with jax.enable_x64(True):
            start = (*map(jnp.asarray, columns), jnp.asarray(arrays["previous_epoch_participation"]))
            r, key = rules.get(epoch.FORK), jax.random.key(turn)
            return jax.block_until_ready(plain_epoch.run(r, start, BEHAVIOUR, jnp.asarray(epochs), key))

    return Task(_work(count, epochs), "jaxstake, plain step", count * epochs, 0, once)


def _year(count: int, n_epochs: int, device: str) -> Row:
    with jax.enable_x64(True):
        start = _start(count)
        begin = time.perf_counter()
        _run(start, 1, 0)
        compiled = time.perf_counter()
        _run(start, n_epochs, 0, every=WEEK)
        seconds = time.perf_counter() - compiled
        peak = _memory(start)
    return Row(
        work=f"simulate, {count:,} validators, {n_epochs:,} epochs, a record every {WEEK:,}",
        by="jaxstake, once",
        device=device,
        lanes=count * n_epochs,
        compile_s=compiled - begin,
        run_s=seconds,
        lanes_per_s=count * n_epochs / seconds,
        peak_mib=peak / 2**20,
    )


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
