"""What blocks do to validators on request: slashings of many at once, exits, deposits, consolidations.

Whoever includes them is paid as in the specification, but the number of operations that a block has room for does not
limit them: a schedule says how many there are in an epoch.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import queues
from jaxstake.beacon.accessors import (
    COMPOUNDING_WITHDRAWAL_PREFIX,
    ETH1_ADDRESS_WITHDRAWAL_PREFIX,
    get_current_epoch,
    has_compounding_withdrawal_credential,
    has_execution_withdrawal_credential,
    is_active_validator,
    is_slashable_validator,
)
from jaxstake.beacon.behaviour import Deposits, Merge, arriving, due, most_arriving
from jaxstake.beacon.churn import compute_consolidation_epoch_and_update_churn, get_consolidation_churn_limit
from jaxstake.beacon.integers import NEVER, saturating_subtract
from jaxstake.beacon.registry import initiate_validator_exits
from jaxstake.beacon.rules import Rules
from jaxstake.beacon.state import BeaconState
from jaxstake.core.pytree import leaf, pytree


@pytree
class Slashed:
    """What slashings took and gave at once, Gwei."""

    penalties: jax.Array = leaf(unit="Gwei")
    rewards: jax.Array = leaf(unit="Gwei")


def slash_validators(
    rules: Rules, state: BeaconState, mask: jax.Array, *, proposer_index: jax.Array
) -> tuple[BeaconState, Slashed]:
    """Slash every validator of a mask [V] that can be, in the order of their rows, all reported by one proposer.

    Source: `slash_validator` (Altair, Bellatrix, Electra), once for each.
    """
    epoch, window = get_current_epoch(rules, state), rules.epochs_per_slashings_vector
    mask &= is_slashable_validator(state, epoch)
    state = initiate_validator_exits(rules, state, mask)
    effective = jnp.where(mask, state.effective_balance, 0)
    after = saturating_subtract(state.balances, effective // rules.min_slashing_penalty_quotient)
    taken = jnp.sum(state.balances - after, dtype=jnp.uint64)
    reward = jnp.sum(effective // rules.whistleblower_reward_quotient, dtype=jnp.uint64)
    there = proposer_index < state.balances.shape[0]
    withdrawable = jnp.where(mask, jnp.maximum(state.withdrawable_epoch, epoch + window), state.withdrawable_epoch)
    state = dataclasses.replace(
        state,
        slashed=state.slashed | mask,
        withdrawable_epoch=withdrawable,
        slashings=state.slashings.at[epoch % window].add(jnp.sum(effective, dtype=jnp.uint64)),
        balances=after.at[proposer_index].add(reward, mode="drop"),
    )
    return state, Slashed(penalties=taken, rewards=jnp.where(there, reward, 0))


def request_exits(rules: Rules, state: BeaconState, mask: jax.Array) -> BeaconState:
    """Exits of the validators of a mask [V] that may leave: active for long enough, with nothing pending.

    Source: `process_voluntary_exit` (phase 0, Electra), once for each.
    """
    epoch = get_current_epoch(rules, state)
    mask &= is_active_validator(state, epoch) & (state.exit_epoch == NEVER) & _served(rules, state, epoch)
    return initiate_validator_exits(rules, state, mask)


def append_deposits(
    state: BeaconState, entry: Deposits, elapsed: jax.Array, next_key: jax.Array
) -> tuple[BeaconState, jax.Array]:
    """Deposits of new validators behind the queue, in the epochs of a schedule; and the next key after theirs."""
    n, place = arriving(entry, elapsed), jnp.arange(most_arriving(entry), dtype=jnp.uint64)
    keys = next_key + place
    entries = {
        "pubkey_id": keys,
        "cred_prefix": jnp.full(keys.shape, entry.cred_prefix, jnp.uint8),
        "amount": jnp.full(keys.shape, jnp.asarray(entry.amount, jnp.uint64)),
        "slot": jnp.full(keys.shape, state.slot),
    }
    queue, fits = queues.append(state.pending_deposits, entries, place < n)
    state = dataclasses.replace(state, pending_deposits=queue, overflowed=state.overflowed | ~fits)
    return state, next_key + n


def switch_to_compounding_validator(
    rules: Rules, state: BeaconState, index: jax.Array, *, allowed: jax.Array | bool = True
) -> BeaconState:
    """Compounding credentials; what a balance has above 32 ETH goes behind the queue of deposits.

    Args:
        rules: of the fork.
        state: in the block.
        index: which validator.
        allowed: whether it happens at all.

    Source: `switch_to_compounding_validator`, `queue_excess_active_balance` (Electra).
    """
    least, rows = jnp.uint64(rules.min_activation_balance_gwei), state.balances.shape[0]
    held, key = (array.at[index].get(mode="clip") for array in (state.balances, state.pubkey_id))
    excess = jnp.where(allowed, saturating_subtract(held, least), 0)
    entry = {
        "pubkey_id": key[None],
        "cred_prefix": jnp.full(1, COMPOUNDING_WITHDRAWAL_PREFIX, jnp.uint8),
        "amount": excess[None],
        "slot": jnp.zeros(1, jnp.uint64),
    }
    queue, fits = queues.append(state.pending_deposits, entry, (excess > 0)[None])
    place = jnp.where(allowed, index, rows)
    return dataclasses.replace(
        state,
        cred_prefix=state.cred_prefix.at[place].set(COMPOUNDING_WITHDRAWAL_PREFIX, mode="drop"),
        balances=state.balances.at[place].add(-excess, mode="drop"),
        pending_deposits=queue,
        overflowed=state.overflowed | ~fits,
    )


def process_consolidation_request(
    rules: Rules,
    state: BeaconState,
    *,
    source_index: jax.Array,
    target_index: jax.Array,
    total_active_balance: jax.Array,
) -> BeaconState:
    """Switch a validator to compounding (source and target the same), or merge one into another; or do nothing.

    Args:
        rules: of the fork.
        state: in the block.
        source_index: whose balance moves.
        target_index: where it goes.
        total_active_balance: of the state, Gwei.

    Source: `process_consolidation_request`, `is_valid_switch_to_compounding_request` (Electra); the request comes
    from the source's own address.
    """
    epoch = get_current_epoch(rules, state)
    at = lambda array, index: array.at[index].get(mode="clip")  # noqa: E731
    active = (at(state.activation_epoch, source_index) <= epoch) & (epoch < at(state.exit_epoch, source_index))
    stays = at(state.exit_epoch, source_index) == NEVER
    prefix = at(state.cred_prefix, source_index)
    switches = (source_index == target_index) & active & stays & (prefix == ETH1_ADDRESS_WITHDRAWAL_PREFIX)
    limit = get_consolidation_churn_limit(rules, total_active_balance=total_active_balance)
    target_active = (at(state.activation_epoch, target_index) <= epoch) & (at(state.exit_epoch, target_index) == NEVER)
    served = epoch >= at(state.activation_epoch, source_index) + rules.shard_committee_period
    parts = state.pending_partial_withdrawals
    pending = jnp.any(queues.filled(parts) & (parts.validator_index == source_index.astype(jnp.uint64)))
    queue = state.pending_consolidations
    merges = (
        (source_index != target_index)
        & active
        & stays
        & target_active
        & served
        & ~pending
        & has_execution_withdrawal_credential(rules, prefix)
        & has_compounding_withdrawal_credential(at(state.cred_prefix, target_index))
        & (limit > rules.min_activation_balance_gwei)
        & (queue.length < queues.capacity(queue))
    )
    rows = state.balances.shape[0]
    state = switch_to_compounding_validator(rules, state, source_index, allowed=switches)
    balance = at(state.effective_balance, source_index)
    moved, leaves = compute_consolidation_epoch_and_update_churn(
        rules, state, jnp.where(merges, balance, 0), total_active_balance=total_active_balance
    )
    place = jnp.where(merges, source_index, rows)
    queue, _ = queues.append(
        queue,
        {"source": source_index[None].astype(jnp.uint64), "target": target_index[None].astype(jnp.uint64)},
        merges[None],
    )
    later = leaves + rules.min_validator_withdrawability_delay
    return dataclasses.replace(
        state,
        exit_epoch=state.exit_epoch.at[place].set(leaves, mode="drop"),
        withdrawable_epoch=state.withdrawable_epoch.at[place].set(later, mode="drop"),
        pending_consolidations=queue,
        earliest_consolidation_epoch=jnp.where(
            merges, moved.earliest_consolidation_epoch, state.earliest_consolidation_epoch
        ),
        consolidation_balance_to_consume=jnp.where(
            merges, moved.consolidation_balance_to_consume, state.consolidation_balance_to_consume
        ),
    )


def request_merges(
    rules: Rules, state: BeaconState, entry: Merge, elapsed: jax.Array, *, total_active_balance: jax.Array
) -> BeaconState:
    """The requests of a schedule that are due, one after another: the first of a group switches, the others join it."""
    start, end = due(entry, elapsed)
    first, group = jnp.asarray(entry.first, jnp.uint64), jnp.asarray(entry.group, jnp.uint64)

    def request(turn: jax.Array, state: BeaconState) -> BeaconState:
        index = start + turn.astype(jnp.uint64)
        return process_consolidation_request(
            rules,
            state,
            source_index=index.astype(jnp.int64),
            target_index=(first + (index - first) // group * group).astype(jnp.int64),
            total_active_balance=total_active_balance,
        )

    return jax.lax.fori_loop(0, (end - start).astype(jnp.int64), request, state)


def of_range(state: BeaconState, start: jax.Array, end: jax.Array) -> jax.Array:
    """Mask [V] of the rows from `start` until `end`."""
    row = jnp.arange(state.balances.shape[0], dtype=jnp.uint64)
    return (row >= start) & (row < end)


def _served(rules: Rules, state: BeaconState, epoch: jax.Array) -> jax.Array:
    """Mask [V] of who has been active for long enough to leave, and has no withdrawal pending."""
    served = epoch >= state.activation_epoch + np.uint64(rules.shard_committee_period)
    queue = state.pending_partial_withdrawals
    if queue is None or queues.capacity(queue) == 0:
        return served
    index = jnp.where(queues.filled(queue), queue.validator_index, state.balances.shape[0])
    return served.at[index].set(False, mode="drop")
