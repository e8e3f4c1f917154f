"""Entering and leaving the validator set, slashing, and the effective balance."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import (
    EpochView,
    compute_activation_exit_epoch,
    get_active_validator_count,
    get_current_epoch,
    get_max_effective_balance,
    increments,
    is_active_validator,
    is_eligible_for_activation,
    is_eligible_for_activation_queue,
    total_active_of,
)
from jaxstake.beacon.churn import (
    compute_exit_epochs_and_update_churn,
    get_validator_activation_churn_limit,
    get_validator_churn_limit,
)
from jaxstake.beacon.integers import NEVER, count, saturating_subtract
from jaxstake.beacon.rewards import by_increments, look_up
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState


def process_registry_updates(rules: Rules, state: BeaconState) -> BeaconState:
    """Queue validators for activation, eject those with too little balance, activate what may enter.

    Every validator is looked at in its up-to-date form, so that an ejection and an entry in one pass both count.

    Source: `process_registry_updates` (phase 0, Deneb, Electra).
    """
    current = get_current_epoch(rules, state)
    enters = is_eligible_for_activation_queue(rules, state)
    ejected = is_active_validator(state, current) & (state.effective_balance <= rules.ejection_balance_gwei)
    if has_balance_queues(rules):
        ejected &= ~enters  # one branch for each validator from Electra on
    eligibility = jnp.where(enters, current + 1, state.activation_eligibility_epoch)
    state = dataclasses.replace(state, activation_eligibility_epoch=eligibility)
    activated = is_eligible_for_activation(state)
    if has_balance_queues(rules):
        activated &= ~enters & ~ejected
    else:
        active = get_active_validator_count(rules, state)
        limit = get_validator_activation_churn_limit(rules, active_validators=active)
        activated = _earliest(state.activation_eligibility_epoch, activated, limit)
    activation_epoch = jnp.where(activated, compute_activation_exit_epoch(rules, current), state.activation_epoch)
    state = initiate_validator_exits(rules, state, ejected)
    return dataclasses.replace(state, activation_epoch=activation_epoch)


def initiate_validator_exits(rules: Rules, state: BeaconState, leaving: jax.Array) -> BeaconState:
    """Give an exit epoch to every validator of a mask [V] that has none, in the order of their indices.

    Source: `initiate_validator_exit` (phase 0, Electra), once for each.
    """
    new = leaving & (state.exit_epoch == NEVER)
    queue = _exits_by_balance if has_balance_queues(rules) else _exits_by_count
    return jax.lax.cond(count(new) > 0, lambda: queue(rules, state, new), lambda: state)


def initiate_validator_exit(rules: Rules, state: BeaconState, index: jax.Array) -> BeaconState:
    """Give an exit epoch to one validator, unless it has one.

    Source: `initiate_validator_exit` (phase 0, Electra).
    """
    if not has_balance_queues(rules):
        rows = jnp.arange(state.exit_epoch.shape[0], dtype=jnp.uint64)
        return _exits_by_count(rules, state, (rows == index) & (state.exit_epoch == NEVER))
    moved, epochs = compute_exit_epochs_and_update_churn(rules, state, state.effective_balance[index][None])
    fresh = state.exit_epoch[index] == NEVER
    withdrawable = epochs[0] + rules.min_validator_withdrawability_delay
    return dataclasses.replace(
        state,
        exit_epoch=state.exit_epoch.at[index].set(jnp.where(fresh, epochs[0], state.exit_epoch[index])),
        withdrawable_epoch=state.withdrawable_epoch.at[index].set(
            jnp.where(fresh, withdrawable, state.withdrawable_epoch[index])
        ),
        earliest_exit_epoch=jnp.where(fresh, moved.earliest_exit_epoch, state.earliest_exit_epoch),
        exit_balance_to_consume=jnp.where(fresh, moved.exit_balance_to_consume, state.exit_balance_to_consume),
    )


def process_slashings(rules: Rules, state: BeaconState, *, view: EpochView | None = None) -> BeaconState:
    """The correlation penalty, half a slashings vector before a slashed validator may withdraw.

    With S all slashed in the window, k the multiplier, T the total: to Deneb `m min(kS, T) // T` whole increments;
    from Electra `min(kS, T) // (T // EBI) * m` Gwei.

    Source: `process_slashings` (phase 0, Altair, Bellatrix, Electra).
    """
    total, increment = total_active_of(rules, state, view), rules.effective_balance_increment_gwei
    slashed = jnp.sum(state.slashings, dtype=jnp.uint64)
    adjusted = jnp.minimum(slashed * rules.proportional_slashing_multiplier, total)
    if has_balance_queues(rules):
        penalty = adjusted // (total // increment) * increments(rules, state)
    else:
        penalty = look_up(rules, state, by_increments(rules) * adjusted // total * increment)
    midpoint = get_current_epoch(rules, state) + rules.epochs_per_slashings_vector // 2
    due = state.slashed & (state.withdrawable_epoch == midpoint)
    return dataclasses.replace(state, balances=saturating_subtract(state.balances, jnp.where(due, penalty, 0)))


def process_effective_balance_updates(rules: Rules, state: BeaconState) -> BeaconState:
    """The effective balance follows the balance once it is 0.25 ETH below or 1.25 ETH above.

    Source: `process_effective_balance_updates` (phase 0, Electra).
    """
    balances, effective = state.balances, state.effective_balance
    increment = rules.effective_balance_increment_gwei
    step = increment // rules.hysteresis_quotient
    below = balances + step * rules.hysteresis_downward_multiplier < effective
    above = effective + step * rules.hysteresis_upward_multiplier < balances
    rounded = balances // increment * increment
    new = jnp.minimum(rounded, get_max_effective_balance(rules, state.cred_prefix))
    return dataclasses.replace(state, effective_balance=jnp.where(below | above, new, effective))


def process_slashings_reset(rules: Rules, state: BeaconState) -> BeaconState:
    """Clear the entry of the next epoch in the slashings vector (phase 0)."""
    place = (get_current_epoch(rules, state) + 1) % rules.epochs_per_slashings_vector
    return dataclasses.replace(state, slashings=state.slashings.at[place].set(0))


def _exits_by_balance(rules: Rules, state: BeaconState, new: jax.Array) -> BeaconState:
    """Exit epochs from the balance queue (Electra)."""
    amounts = jnp.where(new, state.effective_balance, 0)
    state, epochs = compute_exit_epochs_and_update_churn(rules, state, amounts)
    return _with_exits(rules, state, new, epochs)


def _exits_by_count(rules: Rules, state: BeaconState, new: jax.Array) -> BeaconState:
    """Exit epochs one after another, as many an epoch as the churn limit, behind the last one given (phase 0)."""
    given = state.exit_epoch != NEVER
    soonest = compute_activation_exit_epoch(rules, get_current_epoch(rules, state))
    last = jnp.maximum(jnp.max(jnp.where(given, state.exit_epoch, 0)), soonest)
    limit = get_validator_churn_limit(rules, active_validators=get_active_validator_count(rules, state))
    room = saturating_subtract(limit, count(state.exit_epoch == last))
    ahead = jnp.cumsum(new, dtype=jnp.uint64) - new.astype(jnp.uint64)
    epochs = jnp.where(ahead < room, last, last + 1 + saturating_subtract(ahead, room) // limit)
    return _with_exits(rules, state, new, epochs)


def _with_exits(rules: Rules, state: BeaconState, new: jax.Array, epochs: jax.Array) -> BeaconState:
    withdrawable = epochs + rules.min_validator_withdrawability_delay
    return dataclasses.replace(
        state,
        exit_epoch=jnp.where(new, epochs, state.exit_epoch),
        withdrawable_epoch=jnp.where(new, withdrawable, state.withdrawable_epoch),
    )


def _earliest(keys: jax.Array, candidates: jax.Array, limit: jax.Array) -> jax.Array:
    """Mask [V] of the first `limit` candidates by key and, among equal keys, by index.

    The key of the last one that enters is found by bisection, which reads the set a dozen times and sorts nothing.
    """

    def up_to(key: jax.Array) -> jax.Array:
        return count(candidates & (keys <= key))

    def halve(ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = low + (high - low) // 2
        enough = up_to(middle) >= limit
        return jnp.where(enough, low, middle + 1), jnp.where(enough, middle, high)

    def choose() -> jax.Array:
        low = jnp.min(jnp.where(candidates, keys, NEVER))
        high = jnp.max(jnp.where(candidates, keys, 0))
        last, _ = jax.lax.while_loop(lambda ends: ends[0] < ends[1], halve, (low, high))
        before, tied = candidates & (keys < last), candidates & (keys == last)
        return before | (tied & (jnp.cumsum(tied, dtype=jnp.uint64) <= limit - count(before)))

    return jax.lax.cond(count(candidates) > limit, choose, lambda: candidates)
