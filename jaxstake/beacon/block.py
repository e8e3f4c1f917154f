"""What a block does to stake: slashings, exits, sync aggregates, attestations.

Who proposes, who sits in the sync committee and who attests are arguments; drawing them is left to the caller.
"""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import (
    HEAD,
    SOURCE,
    TARGET,
    get_base_reward,
    get_base_reward_per_increment,
    get_current_epoch,
    get_total_active_balance,
    has_flag,
)
from jaxstake.beacon.integers import masked_sum, saturating_subtract
from jaxstake.beacon.registry import initiate_validator_exit
from jaxstake.beacon.rules import Rules, has_builders, participation_flag_weights
from jaxstake.beacon.state import BeaconState


def slash_validator(
    rules: Rules,
    state: BeaconState,
    *,
    slashed_index: jax.Array,
    proposer_index: jax.Array,
    whistleblower_index: jax.Array | None = None,
) -> BeaconState:
    """Slash one validator: exit, `EB // quotient` at once, and the reporter's reward, of which the proposer has 8/64.

    Args:
        rules: of the fork.
        state: in the block.
        slashed_index: whom to slash.
        proposer_index: who proposes the block.
        whistleblower_index: who reported; the proposer if None, as always on chain.

    Source: `slash_validator` (Altair, Bellatrix, Electra).
    """
    whistleblower_index = proposer_index if whistleblower_index is None else whistleblower_index
    epoch, window = get_current_epoch(rules, state), rules.epochs_per_slashings_vector
    state = initiate_validator_exit(rules, state, slashed_index)
    effective = state.effective_balance[slashed_index]
    reward = effective // rules.whistleblower_reward_quotient
    proposer_reward = reward * rules.proposer_weight // rules.weight_denominator
    penalty = effective // rules.min_slashing_penalty_quotient
    balances = decrease_balance(state.balances, slashed_index, penalty)
    balances = balances.at[proposer_index].add(proposer_reward)
    balances = balances.at[whistleblower_index].add(reward - proposer_reward)
    return dataclasses.replace(
        state,
        slashed=state.slashed.at[slashed_index].set(True),
        withdrawable_epoch=state.withdrawable_epoch.at[slashed_index].max(epoch + window),
        slashings=state.slashings.at[epoch % window].add(effective),
        balances=balances,
    )


def sync_rewards(rules: Rules, *, total_active_balance: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Gwei for one seat of the sync committee in one slot, and for the proposer who includes it.

    `A b * 2/64 / slots / seats`, with A the active increments and b the base reward of one; `8/56` of it.

    Source: `process_sync_aggregate` (Altair).
    """
    per_increment = get_base_reward_per_increment(rules, total_active_balance=total_active_balance)
    total_base = per_increment * (total_active_balance // rules.effective_balance_increment_gwei)
    per_slot = total_base * rules.sync_reward_weight // rules.weight_denominator // rules.slots_per_epoch
    participant = per_slot // rules.sync_committee_size
    others = rules.weight_denominator - rules.proposer_weight
    return participant, participant * rules.proposer_weight // others


def process_sync_aggregate(
    rules: Rules,
    state: BeaconState,
    *,
    committee_indices: jax.Array,
    sync_committee_bits: jax.Array,
    proposer_index: jax.Array,
) -> BeaconState:
    """Rewards and penalties of the sync committee in one slot, seat after seat.

    A balance stops at zero after each penalty, so the order of the seats matters only where one may run out; else all
    are added at once.

    Args:
        rules: of the fork.
        state: in the block.
        committee_indices: validator in each seat, repeats allowed, [SYNC_COMMITTEE_SIZE].
        sync_committee_bits: which seats signed, bool [SYNC_COMMITTEE_SIZE].
        proposer_index: who proposes the block.

    Source: `process_sync_aggregate` (Altair).
    """
    total = get_total_active_balance(rules, state)
    participant, proposer = sync_rewards(rules, total_active_balance=total)
    signed = sync_committee_bits.astype(bool)
    seats = committee_indices.shape[0]

    def at_once() -> jax.Array:
        gained = state.balances.at[committee_indices].add(jnp.where(signed, participant, 0))
        gained = gained.at[proposer_index].add(proposer * jnp.sum(signed, dtype=jnp.uint64))
        return gained.at[committee_indices].add(-jnp.where(signed, 0, participant))

    def seat_after_seat() -> jax.Array:
        def seat(place: int, balances: jax.Array) -> jax.Array:
            index = committee_indices[place]
            after = decrease_balance(balances, index, jnp.where(signed[place], 0, participant))
            after = after.at[index].add(jnp.where(signed[place], participant, 0))
            return after.at[proposer_index].add(jnp.where(signed[place], proposer, 0))

        return jax.lax.fori_loop(0, seats, seat, state.balances)

    ample = jnp.min(state.balances[committee_indices]) >= participant * seats
    return dataclasses.replace(state, balances=jax.lax.cond(ample, at_once, seat_after_seat))


def get_attestation_participation_flag_indices(
    rules: Rules, *, inclusion_delay: jax.Array, is_matching_target: jax.Array, is_matching_head: jax.Array
) -> jax.Array:
    """Participation flags that an attestation earns, as bits in a uint8; its source matches, or no block takes it.

    Source within `isqrt(SLOTS_PER_EPOCH)` slots; target within an epoch, from Deneb at any delay; head in the next
    slot. A head counts with its target only; from Gloas it matches only if the payload matches too.

    Source: `get_attestation_participation_flag_indices` (Altair, Deneb, Gloas).
    """
    source = inclusion_delay <= math.isqrt(rules.slots_per_epoch)
    target = is_matching_target & (rules.target_at_any_delay | (inclusion_delay <= rules.slots_per_epoch))
    head = is_matching_target & is_matching_head & (inclusion_delay == rules.min_attestation_inclusion_delay)
    flags = [flag.astype(jnp.uint8) << index for flag, index in ((source, SOURCE), (target, TARGET), (head, HEAD))]
    return flags[0] | flags[1] | flags[2]


def process_attestation(
    rules: Rules,
    state: BeaconState,
    *,
    attesting: jax.Array,
    flags: jax.Array,
    is_current: jax.Array,
    proposer_index: jax.Array,
    slot: jax.Array,
    is_same_slot: jax.Array,
) -> BeaconState:
    """Add the flags of an attestation to who made it, and reward the proposer for those that are new.

    The proposer gains `sum(b w) // 448` over new flags of base reward b and weight w. From Gloas the stake of who gains
    a flag supports the builder's payment of the attested slot, if the attestation is for the block of that slot.

    Args:
        rules: of the fork.
        state: in the block.
        attesting: who attested, bool [V].
        flags: what the attestation earns, bits in a uint8 (`get_attestation_participation_flag_indices`).
        is_current: whether the target is the current epoch; the previous one otherwise.
        proposer_index: who proposes the block.
        slot: that was attested (read from Gloas on).
        is_same_slot: whether the attested block is of that slot (read from Gloas on).

    Source: `process_attestation` (Altair, Deneb, Electra, Gloas).
    """
    before = jnp.where(is_current, state.current_epoch_participation, state.previous_epoch_participation)
    after = jnp.where(attesting, before | flags, before)
    fresh = after & ~before
    base = get_base_reward(rules, state)
    numerator = sum(
        masked_sum(base * weight, has_flag(fresh, flag))
        for flag, weight in enumerate(participation_flag_weights(rules))
    )
    others = rules.weight_denominator - rules.proposer_weight
    reward = numerator // (others * rules.weight_denominator // rules.proposer_weight)
    state = dataclasses.replace(
        state,
        current_epoch_participation=jnp.where(is_current, after, state.current_epoch_participation),
        previous_epoch_participation=jnp.where(is_current, state.previous_epoch_participation, after),
        balances=state.balances.at[proposer_index].add(reward),
    )
    if not has_builders(rules):
        return state
    payments, slots = state.builder_pending_payments, rules.slots_per_epoch
    place = slot % slots + jnp.where(is_current, jnp.uint64(slots), jnp.uint64(0))
    supports = is_same_slot & (payments.amount[place] > 0)
    weight = jnp.where(supports, masked_sum(state.effective_balance, fresh != 0), 0)
    payments = dataclasses.replace(payments, weight=payments.weight.at[place].add(weight))
    return dataclasses.replace(state, builder_pending_payments=payments)


def decrease_balance(balances: jax.Array, index: jax.Array, delta: jax.Array) -> jax.Array:
    """Balances with one of them lowered, not below zero (phase 0)."""
    return balances.at[index].set(saturating_subtract(balances[index], delta))
