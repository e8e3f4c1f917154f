"""Rewards and penalties of an epoch, in Gwei.

An effective balance is one of at most 2,049 multiples of an increment, and a reward or penalty for a flag depends on
nothing else of a validator. So each is worked out once for every multiple and looked up: 64-bit divisions would cost
more than all the rest of the step.

The three pairs for the flags, one after another and each stopping at zero, are one map. With `d_i` the reward or minus
the penalty of pair i, `max(max(max(x + d_0, 0) + d_1, 0) + d_2, 0) = max(x + D, C)`, where `D = d_0 + d_1 + d_2` and
`C = max(d_1 + d_2, d_2, 0)`; so two looked-up numbers, by multiple and by which flags are held, replace three pairs.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import (
    HEAD,
    TARGET,
    EpochView,
    Standing,
    get_base_reward_per_increment,
    get_current_epoch,
    get_epoch_view,
    get_standing,
    get_unslashed_participating_indices,
    has_flag,
    increments,
    is_in_inactivity_leak,
)
from jaxstake.beacon.integers import saturating_subtract
from jaxstake.beacon.rules import Rules, participation_flag_weights
from jaxstake.beacon.state import BeaconState

Deltas = tuple[jax.Array, jax.Array]


def by_increments(rules: Rules) -> jax.Array:
    """Every number of increments that an effective balance can have, 0 to the largest, uint64 [M]."""
    most = rules.max_effective_balance_gwei // rules.effective_balance_increment_gwei
    return jnp.arange(most + 1, dtype=jnp.uint64)


def look_up(rules: Rules, state: BeaconState, table: jax.Array) -> jax.Array:
    """Each validator's entry [V] of a table over `by_increments`."""
    return table.at[increments(rules, state).astype(jnp.int32)].get(mode="clip")


def flag_tables(rules: Rules, state: BeaconState, view: EpochView) -> list[Deltas]:
    """Reward for holding and penalty for missing each flag, Gwei, over `by_increments` [M] each.

    With base reward b, weight w, P the increments that hold the flag and A all active ones: `b w P // (64 A)`, or
    nothing in a leak; `b w // 64`, or nothing for the head.

    Source: `get_flag_index_deltas` (Altair).
    """
    total, increment = view.total_active, rules.effective_balance_increment_gwei
    base = by_increments(rules) * get_base_reward_per_increment(rules, total_active_balance=total)
    leak, none = is_in_inactivity_leak(rules, state), jnp.zeros_like(base)
    tables = []
    for flag, weight in enumerate(participation_flag_weights(rules)):
        numerator = base * weight * (view.previous[flag] // increment)
        reward = numerator // (total // increment * rules.weight_denominator)
        penalty = none if flag == HEAD else base * weight // rules.weight_denominator
        tables.append((jnp.where(leak, none, reward), penalty))
    return tables


def get_flag_index_deltas(rules: Rules, state: BeaconState, flag_index: int) -> Deltas:
    """Rewards and penalties for one participation flag, Gwei [V] each; the amounts are those of `flag_tables`.

    Source: `get_flag_index_deltas` (Altair).
    """
    view = get_epoch_view(rules, state)
    reward, penalty = flag_tables(rules, state, view)[flag_index]
    participating = get_unslashed_participating_indices(rules, state, flag_index, standing=view.standing)
    eligible = view.standing.eligible
    return (
        jnp.where(eligible & participating, look_up(rules, state, reward), 0),
        jnp.where(eligible & ~participating, look_up(rules, state, penalty), 0),
    )


def get_inactivity_penalty_deltas(rules: Rules, state: BeaconState, *, standing: Standing | None = None) -> Deltas:
    """Penalties by inactivity score, Gwei [V]; the rewards are zero.

    `EB * score // (INACTIVITY_SCORE_BIAS * INACTIVITY_PENALTY_QUOTIENT)` for who is eligible and misses the target.

    Source: `get_inactivity_penalty_deltas` (Altair, Bellatrix).
    """
    standing = get_standing(rules, state) if standing is None else standing
    reached = get_unslashed_participating_indices(rules, state, TARGET, standing=standing)
    denominator = rules.inactivity_score_bias * rules.inactivity_penalty_quotient
    penalty = state.effective_balance * state.inactivity_scores // denominator
    missed = standing.eligible & ~reached
    return jnp.zeros_like(penalty), jnp.where(missed, penalty, 0)


def process_rewards_and_penalties(rules: Rules, state: BeaconState, *, view: EpochView | None = None) -> BeaconState:
    """The four pairs of rewards and penalties, one after another, each stopping at a balance of zero.

    Source: `process_rewards_and_penalties` (Altair).
    """
    view = get_epoch_view(rules, state) if view is None else view
    most, not_genesis = by_increments(rules).shape[0], get_current_epoch(rules, state) != 0
    nothing = jnp.zeros(most * 8, jnp.uint64)
    # A branch is also what keeps XLA from working out the entries of the tables anew for every validator.
    change, floor = jax.lax.cond(
        not_genesis, lambda: _maps_by_flags(flag_tables(rules, state, view)), lambda: (nothing, nothing)
    )
    held = jnp.where(view.standing.unslashed_before, state.previous_epoch_participation & 7, 0).astype(jnp.int32)
    place = increments(rules, state).astype(jnp.int32) * 8 + held
    change, floor = (table.at[place].get(mode="clip") for table in (change, floor))
    moved = state.balances + change
    negative = (change >> 63 != 0) & (moved > state.balances)  # a loss beyond the balance wraps around
    rewarded = jnp.where(negative, floor, jnp.maximum(moved, floor))
    eligible = view.standing.eligible & not_genesis
    _, inactivity = get_inactivity_penalty_deltas(rules, state, standing=view.standing)
    after = jnp.where(eligible, saturating_subtract(rewarded, inactivity), state.balances)
    return dataclasses.replace(state, balances=after)


def process_inactivity_updates(rules: Rules, state: BeaconState, *, view: EpochView | None = None) -> BeaconState:
    """Scores rise by the bias for a missed target, fall by one for a reached one, and recover outside a leak.

    Source: `process_inactivity_updates` (Altair).
    """
    scores, standing = state.inactivity_scores, get_standing(rules, state) if view is None else view.standing
    reached = get_unslashed_participating_indices(rules, state, TARGET, standing=standing)
    moved = jnp.where(reached, saturating_subtract(scores, jnp.uint64(1)), scores + rules.inactivity_score_bias)
    recovered = saturating_subtract(moved, jnp.uint64(rules.inactivity_score_recovery_rate))
    new = jnp.where(is_in_inactivity_leak(rules, state), moved, recovered)
    counts = standing.eligible & (get_current_epoch(rules, state) != 0)
    return dataclasses.replace(state, inactivity_scores=jnp.where(counts, new, scores))


def _maps_by_flags(tables: list[Deltas]) -> tuple[jax.Array, jax.Array]:
    """D modulo 2^64 and C of the module's map, by multiple and bits of the flags held, [M * 8] each."""
    bits = jnp.arange(8, dtype=jnp.uint8)
    change = floor = jnp.zeros((tables[0][0].shape[0], 8), jnp.uint64)
    for flag, (reward, penalty) in enumerate(tables):
        holds = has_flag(bits, flag)[None, :]
        gain, loss = jnp.where(holds, reward[:, None], 0), jnp.where(holds, 0, penalty[:, None])
        change = change + gain - loss
        floor = saturating_subtract(floor + gain, loss)
    return change.ravel(), floor.ravel()
