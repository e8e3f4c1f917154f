"""Rewards and penalties of an epoch, in Gwei.

An effective balance is one of at most 2,049 multiples of an increment, so a reward that divides by the total balance
is worked out once for each multiple and looked up: a 64-bit division costs more than all else in the step.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import (
    HEAD,
    TARGET,
    get_base_reward,
    get_base_reward_per_increment,
    get_current_epoch,
    get_eligible_validator_indices,
    get_total_active_balance,
    get_total_balance,
    get_unslashed_participating_indices,
    increments,
    is_in_inactivity_leak,
)
from jaxstake.beacon.integers import saturating_subtract
from jaxstake.beacon.rules import Rules, participation_flag_weights
from jaxstake.beacon.state import BeaconState

Deltas = tuple[jax.Array, jax.Array]


def by_increments(rules: Rules) -> jax.Array:
    """Every number of increments that an effective balance can have, 0 to the largest, uint64."""
    most = rules.max_effective_balance_gwei // rules.effective_balance_increment_gwei
    return jnp.arange(most + 1, dtype=jnp.uint64)


def look_up(rules: Rules, state: BeaconState, table: jax.Array) -> jax.Array:
    """Each validator's entry [V] of a table over `by_increments`."""
    return table.at[increments(rules, state).astype(jnp.int32)].get(mode="clip")


def get_flag_index_deltas(rules: Rules, state: BeaconState, flag_index: int) -> Deltas:
    """Rewards and penalties for one participation flag, Gwei [V] each.

    With base reward b, weight w, P the increments that hold the flag and A all active ones: `b w P // (64 A)` for who
    holds it, unless in a leak; `b w // 64` lost by who does not, unless the flag is the head.

    Source: `get_flag_index_deltas` (Altair).
    """
    weight, increment = participation_flag_weights(rules)[flag_index], rules.effective_balance_increment_gwei
    participating = get_unslashed_participating_indices(rules, state, flag_index)
    eligible = get_eligible_validator_indices(rules, state)
    participating_increments = get_total_balance(rules, state, participating) // increment
    total = get_total_active_balance(rules, state)
    base = by_increments(rules) * get_base_reward_per_increment(rules, total_active_balance=total)
    table = base * weight * participating_increments // (total // increment * rules.weight_denominator)
    rewarded = eligible & participating & ~is_in_inactivity_leak(rules, state)
    rewards = jnp.where(rewarded, look_up(rules, state, table), 0)
    if flag_index == HEAD:
        return rewards, jnp.zeros_like(rewards)
    penalty = get_base_reward(rules, state) * weight // rules.weight_denominator
    return rewards, jnp.where(eligible & ~participating, penalty, 0)


def get_inactivity_penalty_deltas(rules: Rules, state: BeaconState) -> Deltas:
    """Penalties by inactivity score, Gwei [V]; the rewards are zero.

    `EB * score // (INACTIVITY_SCORE_BIAS * INACTIVITY_PENALTY_QUOTIENT)` for who is eligible and misses the target.

    Source: `get_inactivity_penalty_deltas` (Altair, Bellatrix).
    """
    reached = get_unslashed_participating_indices(rules, state, TARGET)
    denominator = rules.inactivity_score_bias * rules.inactivity_penalty_quotient
    penalty = state.effective_balance * state.inactivity_scores // denominator
    missed = get_eligible_validator_indices(rules, state) & ~reached
    return jnp.zeros_like(penalty), jnp.where(missed, penalty, 0)


def process_rewards_and_penalties(rules: Rules, state: BeaconState) -> BeaconState:
    """The four pairs of rewards and penalties, one after another, each stopping at a balance of zero.

    Source: `process_rewards_and_penalties` (Altair).
    """
    pairs = [get_flag_index_deltas(rules, state, flag) for flag in range(3)]
    pairs.append(get_inactivity_penalty_deltas(rules, state))
    balances = state.balances
    for rewards, penalties in pairs:
        balances = saturating_subtract(balances + rewards, penalties)
    at_genesis = get_current_epoch(rules, state) == 0
    return dataclasses.replace(state, balances=jnp.where(at_genesis, state.balances, balances))


def process_inactivity_updates(rules: Rules, state: BeaconState) -> BeaconState:
    """Scores rise by the bias for a missed target, fall by one for a reached one, and recover outside a leak.

    Source: `process_inactivity_updates` (Altair).
    """
    scores = state.inactivity_scores
    reached = get_unslashed_participating_indices(rules, state, TARGET)
    moved = jnp.where(reached, saturating_subtract(scores, jnp.uint64(1)), scores + rules.inactivity_score_bias)
    recovered = saturating_subtract(moved, jnp.uint64(rules.inactivity_score_recovery_rate))
    new = jnp.where(is_in_inactivity_leak(rules, state), moved, recovered)
    counts = get_eligible_validator_indices(rules, state) & (get_current_epoch(rules, state) != 0)
    return dataclasses.replace(state, inactivity_scores=jnp.where(counts, new, scores))
