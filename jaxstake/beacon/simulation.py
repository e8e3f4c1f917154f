"""The network in time: epochs in a row under a behaviour, with everything random drawn from one key."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import duties, queues, records
from jaxstake.beacon.advance import Simulation, advance
from jaxstake.beacon.behaviour import Behaviour, check_behaviour
from jaxstake.beacon.checks import require_state
from jaxstake.beacon.draws import MOST_ROWS, sample_committee
from jaxstake.beacon.quiet import is_quiet, watch
from jaxstake.beacon.records import Record, Tally
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState

GWEI = 1e9
Observer = Callable[[Simulation, Record], None]
_Carry = tuple[Simulation, Tally, jax.Array]


_committee = jax.jit(sample_committee, static_argnums=0)


def begin(rules: Rules, state: BeaconState, behaviour: Behaviour, *, key: jax.Array) -> Simulation:
    """A simulation that has not yet seen an epoch.

    Args:
        rules: of the fork.
        state: in the first slot of an epoch.
        behaviour: which is checked against the state.
        key: from `jax.random.key`; the same as for `simulate`.

    Raises:
        ValueError: as `simulate`.
    """
    require_state(rules, state)
    if int(state.slot) % rules.slots_per_epoch:
        raise ValueError(
            f"slot must be the first of an epoch, a multiple of {rules.slots_per_epoch}, got {int(state.slot)}"
        )
    if state.balances.shape[0] > MOST_ROWS:
        raise ValueError(f"a state must have at most {MOST_ROWS} rows to draw from, got {state.balances.shape[0]}")
    epoch = int(state.slot) // rules.slots_per_epoch
    if not np.any((np.asarray(state.activation_epoch) <= epoch) & (epoch < np.asarray(state.exit_epoch))):
        raise ValueError(f"somebody must be active in the epoch of the state, {epoch}, got nobody")
    check_behaviour(rules, state, behaviour)
    state = jax.tree.map(jnp.asarray, state)
    groups = 0 if behaviour.group is None else np.shape(behaviour.outage_chance)[0]
    used = jnp.where(jnp.arange(state.pubkey_id.shape[0], dtype=jnp.uint64) < state.n_validators, state.pubkey_id, 0)
    waiting = state.pending_deposits  # some of them may be for validators that are yet to come
    if waiting is not None:
        used = jnp.concatenate([used, jnp.where(queues.filled(waiting), waiting.pubkey_id, 0)])
    return Simulation(
        state=state,
        elapsed=jnp.zeros((), jnp.uint64),
        committee=_committee(rules, state, jax.random.fold_in(key, 2**31)),
        down=jnp.zeros(groups, bool),
        lost=jnp.zeros(len(behaviour.offline), bool),
        over=jnp.zeros(len(behaviour.offline), bool),
        next_key=jnp.max(used) + 1,
        at_start=jnp.array(state.balances),
        transferred=jnp.zeros(state.balances.shape, jnp.int64),
        execution_income_eth=jnp.zeros(state.balances.shape, jnp.float64),
    )


def simulate(
    rules: Rules,
    state: BeaconState | Simulation,
    behaviour: Behaviour,
    *,
    n_epochs: int,
    key: jax.Array,
    record_every: int | None = None,
    sample_block_value: duties.Sampler | None = None,
    levels: Sequence[float] = records.LEVELS,
    traced: Sequence[int] = (),
    observer: Observer | None = None,
) -> tuple[Simulation, Record]:
    """Epochs in a row, validator by validator, by the exact rules.

    In every epoch: the sync committee changes if its period is over; groups and cohorts go offline and come back;
    what the schedules say is included; proposers, votes and signatures are drawn (`duties`) and paid; blocks sweep
    withdrawals; and the epoch transition follows. Memory grows with validators and records, not with epochs.

    Args:
        rules: of the fork.
        state: in the first slot of an epoch, with capacity for new validators and queue entries where a schedule needs
            it (`state_from_arrays`); or a `Simulation` to go on from, with the same behaviour and key.
        behaviour: of the validators.
        n_epochs: how many epochs to go on.
        key: from `jax.random.key`; the same key gives the same result, also in parts, and on any number of devices.
        record_every: epochs from one record to the next; one record of all epochs if None.
        sample_block_value: a JAX function that draws block values, ETH, as `sampler(key, shape)`; none if None. One
            compilation serves every call with the same function.
        levels: of the quantiles over validators in a record.
        traced: validators whose balances, scores and incomes are recorded one by one.
        observer: called with the simulation and the record after every window, for progress and checkpoints; what it
            wants to keep it must copy (`jax.device_get`), since the next window uses the same memory.

    Returns:
        The simulation after the last epoch, and the records with a leading axis [R].

    Raises:
        ValueError: JAX is not in 64-bit mode; the state is not in the first slot of an epoch, or nobody is active; an
            argument is out of range; a behaviour does not fit, or overlaps (`check_behaviour`); a sampler cannot be
            right (`duties.check_sampler`).

    Example:
        >>> import numpy as np
        >>> from jaxstake.beacon import rules
        >>> from jaxstake.beacon.arrays import healthy_state
        >>> with jax.enable_x64(True):
        ...     fulu = rules.get("fulu", preset="minimal")
        ...     state = healthy_state(fulu, np.full(64, 32_000_000_000))
        ...     end, record = simulate(
        ...         fulu, state, Behaviour(target=0.9, head=0.8), n_epochs=6, key=jax.random.key(1), record_every=3
        ...     )
        >>> record.tally.attestation_rewards.shape, int(end.elapsed)
        ((2,), 6)

    Source: the specification's `state_transition`, as far as stake is concerned. Left out: builders of Gloas, whose
    payments do not change what is staked; operations do not compete for room in blocks.
    """
    n_epochs = operator.index(n_epochs)
    every = n_epochs if record_every is None else operator.index(record_every)
    if n_epochs < 1 or every < 1:
        raise ValueError(f"n_epochs and record_every must be at least 1, got {n_epochs} and {every}")
    simulation = state if isinstance(state, Simulation) else begin(rules, state, behaviour, key=key)
    rows = simulation.at_start.shape[0]
    for name, values, low, high in (("levels", levels, 0, 1), ("traced", traced, 0, rows - 1)):
        if any(not low <= value <= high for value in values):
            raise ValueError(f"{name} must be in [{low}, {high}], got {values}")
    if sample_block_value is not None:
        duties.check_sampler(sample_block_value)
    behaviour = jax.tree.map(jnp.asarray, behaviour)
    # A buffer that the caller holds must not be given away.
    simulation = jax.tree.map(jnp.array, simulation)
    found, done, start = [], 0, int(simulation.elapsed)
    while done < n_epochs:
        ahead = min(every - (start + done) % every, n_epochs - done)
        simulation, record = window(
            rules,
            simulation,
            behaviour,
            jnp.asarray(ahead),
            key,
            sample_block_value=sample_block_value,
            levels=tuple(levels),
            traced=tuple(traced),
        )
        done += ahead
        found.append(jax.device_get(record))
        if observer is not None:
            observer(simulation, found[-1])
    return simulation, jax.tree.map(lambda *values: np.stack(values), *found)


@functools.partial(
    jax.jit, static_argnames=("rules", "sample_block_value", "levels", "traced"), donate_argnames="simulation"
)
def window(
    rules: Rules,
    simulation: Simulation,
    behaviour: Behaviour,
    n_epochs: jax.Array,
    key: jax.Array,
    *,
    sample_block_value: duties.Sampler | None,
    levels: tuple[float, ...],
    traced: tuple[int, ...],
) -> tuple[Simulation, Record]:
    """Some epochs and the record after them, compiled once for any number."""
    one = functools.partial(advance, sample_block_value=sample_block_value)
    s, tally = _epochs(rules, simulation, behaviour, n_epochs, key, one)
    started = s.at_start > 0
    return s, records.look(
        rules,
        s.state,
        tally,
        consensus_income_eth=consensus_income_eth(s),
        execution_income_eth=s.execution_income_eth,
        counted=started,
        levels=levels,
        traced=traced,
    )


def _epochs(
    rules: Rules, simulation: Simulation, behaviour: Behaviour, n_epochs: jax.Array, key: jax.Array, one: Any
) -> tuple[Simulation, Tally]:
    """Stretches of quiet epochs and of others in turn; `one` is an epoch."""
    end = simulation.elapsed + n_epochs.astype(jnp.uint64)

    def stretch(carry: _Carry, *, quiet: bool) -> _Carry:
        watched = watch(rules, carry[0].state)

        def calm(s: Simulation) -> jax.Array:
            return is_quiet(rules, s.state, behaviour, s.elapsed, watched if quiet else None)

        def epoch(carry: _Carry) -> _Carry:
            s, tally = one(rules, carry[0], behaviour, key, carry[1], watched=watched if quiet else None)
            return s, tally, calm(s)

        start = carry[0], carry[1], calm(carry[0])
        return jax.lax.while_loop(lambda c: (c[2] == quiet) & (c[0].elapsed < end), epoch, start)

    def both(carry: _Carry) -> _Carry:
        return stretch(stretch(carry, quiet=True), quiet=False)

    start = simulation, records.no_tally(), jnp.asarray(False)
    s, tally, _ = jax.lax.while_loop(lambda c: c[0].elapsed < end, both, start)
    return s, tally


def consensus_income_eth(simulation: Simulation) -> jax.Array:
    """Rewards less penalties of every validator since the start, ETH [V], wherever the money went meanwhile."""
    now, before = (array.astype(jnp.int64) for array in (simulation.state.balances, simulation.at_start))
    return (now - before - simulation.transferred).astype(jnp.float64) / GWEI
