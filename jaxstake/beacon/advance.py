"""One epoch of a simulation: what is scheduled, what is drawn, what it pays, and the transition at its end."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import duties, operations
from jaxstake.beacon.accessors import (
    TARGET,
    EpochView,
    get_current_epoch,
    get_epoch_view,
    get_standing,
    get_total_active_balance,
    is_in_inactivity_leak,
)
from jaxstake.beacon.behaviour import Behaviour, due
from jaxstake.beacon.draws import sample_committee
from jaxstake.beacon.epoch import WITH_VIEW, process_pending_consolidations, steps
from jaxstake.beacon.integers import saturating_subtract, sums, total
from jaxstake.beacon.pending import process_pending_deposits
from jaxstake.beacon.quiet import Watch, quiet_steps
from jaxstake.beacon.records import Tally, added
from jaxstake.beacon.registry import process_slashings
from jaxstake.beacon.rewards import get_inactivity_penalty_deltas, process_rewards_and_penalties
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState
from jaxstake.beacon.sweep import sweep_of_blocks, sweeps_alone
from jaxstake.beacon.withdrawals import process_withdrawals
from jaxstake.core.pytree import branch, leaf, pytree


@pytree
class Simulation:
    """All that a simulation goes on from: written to a file and read back, it continues as if nothing had been."""

    state: BeaconState = branch()
    elapsed: Any = leaf(unit="epoch", meaning="epochs since the start")
    committee: Any = leaf(meaning="rows of the sync committee, [seats]")
    down: Any = leaf(meaning="groups that are down, bool [G]")
    lost: Any = leaf(meaning="cohorts in whose time finality was lost, bool")
    over: Any = leaf(meaning="cohorts that came back with finality, bool")
    next_key: Any = leaf(meaning="key of the next new validator")
    at_start: Any = leaf(unit="Gwei", meaning="[V] balances at the start")
    transferred: Any = leaf(unit="Gwei", meaning="[V] what came in less what went out, int64")
    execution_income_eth: Any = leaf(unit="ETH", meaning="[V] block values since the start")


def advance(
    rules: Rules,
    simulation: Simulation,
    behaviour: Behaviour,
    key: jax.Array,
    tally: Tally,
    *,
    sample_block_value: duties.Sampler | None = None,
    watched: Watch | None = None,
) -> tuple[Simulation, Tally]:
    """One epoch of a simulation, with its sums added to a tally; see `simulate`.

    Given a watch, the epoch is run as a quiet one, which `is_quiet` must have allowed.
    """
    quiet = watched is not None
    keys = jax.random.split(jax.random.fold_in(key, simulation.elapsed.astype(jnp.uint32)), 6)
    s = _new_committee(rules, simulation, keys[0])
    s = dataclasses.replace(s, down=duties.next_outages(behaviour, s.down, keys[1]))
    up = duties.online(s.state, behaviour, s.elapsed, s.down, s.over)
    blocks = duties.draw_blocks(rules, s.state, behaviour, up, keys[2])
    if not quiet:
        s, tally = _scheduled(rules, s, behaviour, blocks, tally)
    standing = watched.standing if watched is not None else get_standing(rules, s.state)
    votes = duties.draw_votes(rules, behaviour, standing.unslashed & up, blocks, keys[3])
    s = _with_state(s, current_epoch_participation=votes)
    view = get_epoch_view(rules, s.state, standing=standing)
    sync = duties.draw_sync(rules, behaviour, up, blocks, s.committee, keys[4], total_active_balance=view.total_active)
    s, tally = _paid(rules, s, blocks, sync, view, tally)
    s, tally = _with_block_values(s, blocks, keys[5], tally, sample_block_value)
    s, tally = _swept(rules, s, blocks, tally, quiet=quiet)
    s, tally = _transition(rules, s, view, tally, quiet=quiet)
    share = view.current[TARGET].astype(jnp.float64) / view.total_active.astype(jnp.float64)
    leak = is_in_inactivity_leak(rules, s.state)
    tally = added(
        tally,
        epochs=jnp.uint64(1),
        blocks=jnp.sum(blocks.present, dtype=jnp.uint64),
        leak_epochs=leak,
        target_share=share,
    )
    return _finality_watched(s, behaviour, leak), tally


def _with_state(simulation: Simulation, **changes: Any) -> Simulation:
    return dataclasses.replace(simulation, state=dataclasses.replace(simulation.state, **changes))


def _new_committee(rules: Rules, simulation: Simulation, key: jax.Array) -> Simulation:
    """A new sync committee in the first epoch of a period."""
    period, epoch = rules.epochs_per_sync_committee_period, get_current_epoch(rules, simulation.state)
    committee = jax.lax.cond(
        (epoch % period == 0) & (simulation.elapsed > 0),
        lambda: sample_committee(rules, simulation.state, key),
        lambda: simulation.committee,
    )
    return dataclasses.replace(simulation, committee=committee)


def _scheduled(
    rules: Rules, simulation: Simulation, behaviour: Behaviour, blocks: duties.Blocks, tally: Tally
) -> tuple[Simulation, Tally]:
    """Slashings, exits, deposits and merges that are due; the epoch's first proposer reports the slashings."""
    s, elapsed = simulation, simulation.elapsed
    for event in behaviour.slashings:
        mask = operations.of_range(s.state, *due(event, elapsed))
        state, slashed = operations.slash_validators(rules, s.state, mask, proposer_index=blocks.proposer[0])
        s = dataclasses.replace(s, state=state)
        tally = added(tally, slashing_penalties=slashed.penalties, slashing_rewards=slashed.rewards)
    for event in behaviour.exits:
        mask = operations.of_range(s.state, *due(event, elapsed))
        s = dataclasses.replace(s, state=operations.request_exits(rules, s.state, mask))
    for deposits in behaviour.deposits:
        state, next_key = operations.append_deposits(s.state, deposits, elapsed, s.next_key)
        s = dataclasses.replace(s, state=state, next_key=next_key)
    if behaviour.merges:
        before = s.state.balances
        active = get_total_active_balance(rules, s.state)
        for merge in behaviour.merges:
            state = operations.request_merges(rules, s.state, merge, elapsed, total_active_balance=active)
            s = dataclasses.replace(s, state=state)
        queued = before - s.state.balances
        tally = added(tally, queued=jnp.sum(queued, dtype=jnp.uint64))
        s = dataclasses.replace(s, transferred=s.transferred - queued.astype(jnp.int64))
    return s, tally


def _paid(
    rules: Rules,
    simulation: Simulation,
    blocks: duties.Blocks,
    sync: duties.SyncRewards,
    view: EpochView,
    tally: Tally,
) -> tuple[Simulation, Tally]:
    """What the epoch's blocks bring proposers and the sync committee."""
    there = blocks.present
    inclusion = duties.inclusion_rewards(rules, blocks, view.current, total_active_balance=view.total_active)
    balances, taken = duties.pay_sync(simulation.state.balances, simulation.committee, sync)
    earned = jnp.where(there, inclusion + sync.proposers, 0)
    balances = balances.at[blocks.proposer].add(earned, mode="drop")
    seated = simulation.committee < balances.shape[0]
    tally = added(
        tally,
        inclusion_rewards=jnp.sum(jnp.where(there, inclusion, 0)),
        sync_inclusion_rewards=jnp.sum(jnp.where(there, sync.proposers, 0)),
        sync_rewards=jnp.sum(jnp.where(seated, sync.gains, 0)),
        sync_penalties=taken,
    )
    return _with_state(simulation, balances=balances), tally


def _with_block_values(
    simulation: Simulation, blocks: duties.Blocks, key: jax.Array, tally: Tally, sampler: duties.Sampler | None
) -> tuple[Simulation, Tally]:
    if sampler is None:
        return simulation, tally
    values = jnp.where(blocks.present, sampler(key, blocks.present.shape).astype(jnp.float64), 0.0)
    income = simulation.execution_income_eth.at[blocks.proposer].add(values, mode="drop")
    return dataclasses.replace(simulation, execution_income_eth=income), added(tally, block_value_eth=jnp.sum(values))


def _swept(
    rules: Rules, simulation: Simulation, blocks: duties.Blocks, tally: Tally, *, quiet: bool
) -> tuple[Simulation, Tally]:
    """Withdrawals of all blocks: in one sweep, or block by block while other kinds are pending."""
    if not rules.has_withdrawals:
        return simulation, tally
    state, moved, n = simulation.state, simulation.transferred, jnp.sum(blocks.present)
    paid = jnp.zeros((), jnp.uint64)
    if not quiet:
        alone = sweeps_alone(rules, state)
        state = jax.lax.fori_loop(
            0, jnp.where(alone, 0, n), lambda _, state: process_withdrawals(rules, state)[0], state
        )
        others = simulation.state.balances - state.balances
        moved, paid, n = moved - others.astype(jnp.int64), total(others), jnp.where(alone, n, 0)
    state, moved, swept = sweep_of_blocks(rules, state, n, transferred=moved)
    simulation = dataclasses.replace(simulation, state=state, transferred=moved)
    return simulation, added(tally, withdrawn=paid + swept)


def _transition(
    rules: Rules, simulation: Simulation, view: EpochView, tally: Tally, *, quiet: bool
) -> tuple[Simulation, Tally]:
    """The epoch transition, with what each step did to balances."""
    state = dataclasses.replace(simulation.state, slot=simulation.state.slot + rules.slots_per_epoch - 1)
    moved, changes, inflows = simulation.transferred, {}, []
    for step in quiet_steps(rules) if quiet else steps(rules):
        before = state
        state = step(rules, state, view=view) if step in WITH_VIEW else step(rules, state)
        if step is process_rewards_and_penalties:
            leaked = get_inactivity_penalty_deltas(rules, before, standing=view.standing)[1]
            changes = {
                "attestation_rewards": jnp.where(state.balances > before.balances, state.balances - before.balances, 0),
                "attestation_penalties": saturating_subtract(before.balances, state.balances),
                "inactivity_penalties": jnp.where(get_current_epoch(rules, before) != 0, leaked, 0),
            }
        elif step is process_slashings:
            changes["correlation_penalties"] = before.balances - state.balances
        elif step in (process_pending_deposits, process_pending_consolidations):
            inflows.append(state.balances - before.balances)
    if inflows:
        both = sum(inflows[1:], inflows[0])
        changes["deposited"] = inflows[0]
        moved = moved + both.astype(jnp.int64)
    tally = added(tally, **dict(zip(changes, sums(*changes.values()), strict=True)))
    state = dataclasses.replace(state, slot=state.slot + 1)
    if quiet and has_balance_queues(rules):
        state = dataclasses.replace(state, deposit_balance_to_consume=jnp.zeros((), jnp.uint64))
    return dataclasses.replace(simulation, state=state, transferred=moved, elapsed=simulation.elapsed + 1), tally


def _finality_watched(simulation: Simulation, behaviour: Behaviour, leak: jax.Array) -> Simulation:
    """Cohorts that wait for finality come back once a leak that began in their time is over."""
    if not behaviour.offline:
        return simulation
    waits = np.array([cohort.until_finality for cohort in behaviour.offline])
    begun = jnp.stack([simulation.elapsed > jnp.asarray(cohort.from_epoch, jnp.uint64) for cohort in behaviour.offline])
    lost = simulation.lost | (begun & leak & waits)
    return dataclasses.replace(simulation, lost=lost, over=simulation.over | (lost & ~leak))
