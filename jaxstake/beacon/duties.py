"""What validators do in an epoch, drawn: blocks, votes, the sync committee; and what it brings them, in Gwei.

Every validator attests once in an epoch, in a slot drawn for it. Its attestation is included in the next block, so a
missed block costs the head of the slot before it, and a run of them the source. After the last block of an epoch slots
are counted round: who attests in the last slot waits for as long as if the epoch's first block came next.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon.accessors import get_base_reward_per_increment
from jaxstake.beacon.behaviour import Behaviour, lasts
from jaxstake.beacon.block import sync_rewards
from jaxstake.beacon.draws import bits, happens, sample_by_balance, threshold
from jaxstake.beacon.rules import Rules, participation_flag_weights
from jaxstake.beacon.state import BeaconState
from jaxstake.core.pytree import leaf, pytree

Sampler = Callable[[jax.Array, tuple[int, ...]], jax.Array]
"""Draws block values in ETH: a key and a shape to an array."""


def check_sampler(sampler: Sampler) -> None:
    """Raise where a sampler of block values cannot be right.

    Raises:
        ValueError: it gives another shape than asked for, or no floats; it does not depend on its key, as one that
            draws with NumPy does, which would give every epoch the same values; a value is negative or not finite.
    """
    shape, key = (2, 32), jax.random.key(0)
    traced = jax.make_jaxpr(lambda key: jnp.asarray(sampler(key, shape)))(key).jaxpr
    drawn = traced.outvars[0].aval
    if drawn.shape != shape or not jnp.issubdtype(drawn.dtype, jnp.floating):
        raise ValueError(
            f"sample_block_value must give floats of the shape it is asked for, {shape}, got {drawn.dtype} of shape "
            f"{drawn.shape}"
        )
    if not any(traced.invars[0] is used for equation in traced.eqns for used in equation.invars):
        raise ValueError("sample_block_value must draw with its key (jax.random), got values that do not depend on it")
    values = np.asarray(sampler(key, shape))
    if not np.all(np.isfinite(values) & (values >= 0)):
        bad = values[~(np.isfinite(values) & (values >= 0))][0]
        raise ValueError(f"sample_block_value must give values of at least 0 ETH, got {bad}")


@pytree
class Blocks:
    """The slots of an epoch, [S]: who proposes, and whether the block arrives."""

    proposer: jax.Array = leaf(meaning="row of the proposer; the number of rows where there is nobody")
    present: jax.Array = leaf()


def online(state: BeaconState, behaviour: Behaviour, elapsed: jax.Array, down: jax.Array, over: jax.Array) -> jax.Array:
    """Mask [V] of who is online in an epoch of the simulation.

    Args:
        state: for the number of rows.
        behaviour: outages and cohorts.
        elapsed: epochs since the start.
        down: which groups are down, bool [G].
        over: which cohorts came back with finality, bool [number of cohorts].
    """
    row = jnp.arange(state.balances.shape[0], dtype=jnp.uint64)
    found = jnp.ones(row.shape, bool)
    if behaviour.group is not None:
        found &= ~down[jnp.asarray(behaviour.group)]
    for place, cohort in enumerate(behaviour.offline):
        first, count = jnp.asarray(cohort.first, jnp.uint64), jnp.asarray(cohort.count, jnp.uint64)
        within = (row >= first) & (row < first + count)
        found &= ~(within & lasts(cohort, elapsed) & ~over[place])
    return found


def next_outages(behaviour: Behaviour, down: jax.Array, key: jax.Array) -> jax.Array:
    """Which groups are down in the next epoch, bool [G]."""
    if behaviour.group is None:
        return down
    chance = jnp.where(down, 1.0 - jnp.asarray(behaviour.recovery_chance), jnp.asarray(behaviour.outage_chance))
    return jax.random.uniform(key, down.shape, jnp.float64) < chance


def draw_blocks(rules: Rules, state: BeaconState, behaviour: Behaviour, up: jax.Array, key: jax.Array) -> Blocks:
    """Proposers by effective balance, and which of their blocks arrive."""
    slots, rows = rules.slots_per_epoch, state.balances.shape[0]
    who, how = jax.random.split(key)
    proposer = sample_by_balance(rules, state, who, slots)
    arrives = happens(bits(how, jnp.arange(slots)), of_rows(behaviour.proposal, proposer))
    arrives &= up.at[proposer].get(mode="clip") & ~state.slashed.at[proposer].get(mode="clip") & (proposer < rows)
    return Blocks(proposer=proposer, present=arrives)


def draw_votes(rules: Rules, behaviour: Behaviour, able: jax.Array, blocks: Blocks, key: jax.Array) -> jax.Array:
    """Participation flags of the current epoch, bits in uint8 [V].

    Args:
        rules: of the fork.
        behaviour: chances of each flag.
        able: who votes: active, not slashed and online, bool [V].
        blocks: of the epoch.
        key: of this drawing.

    Source: `get_attestation_participation_flag_indices` (Altair, Deneb), with the delay until the next block.
    """
    drawn = bits(key, jnp.arange(able.shape[0], dtype=jnp.uint32))
    slot = drawn & np.uint32(rules.slots_per_epoch - 1)
    flags = jnp.zeros(drawn.shape, jnp.uint8)
    for flag, timely in enumerate(timely_slots(rules, blocks)):
        chance = (behaviour.source, behaviour.target, behaviour.head)[flag]
        packed = jnp.sum(timely.astype(jnp.uint32) << jnp.arange(timely.size, dtype=jnp.uint32), dtype=jnp.uint32)
        earned = able & happens(drawn, threshold(chance)) & ((packed >> slot) & 1 == 1)
        flags |= earned.astype(jnp.uint8) << flag
    return flags


def timely_slots(rules: Rules, blocks: Blocks) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Whether an attestation of each slot is included in time for source, target and head, bool [S] each."""
    slots = rules.slots_per_epoch
    delay = np.arange(1, slots + 1)
    later = blocks.present[(np.arange(slots)[:, None] + delay[None, :]) % slots]
    waits = jnp.where(jnp.any(later, axis=1), jnp.argmax(later, axis=1) + 1, slots + 1)
    included = waits <= slots
    return (
        waits <= math.isqrt(slots),
        included,  # up to an epoch, and from Deneb at any delay
        waits == rules.min_attestation_inclusion_delay,
    )


def inclusion_rewards(
    rules: Rules, blocks: Blocks, votes: tuple[jax.Array, ...], *, total_active_balance: jax.Array
) -> jax.Array:
    """Gwei [S] that each block's proposer earns for the attestations it includes.

    `sum(b w) // 448` over the flags earned, those of a flag spread evenly over the slots that are timely for it. The
    specification rounds down for every attestation of a block, 8 at most from Electra, so less by as many Gwei.

    Source: `process_attestation` (Altair).
    """
    slots = rules.slots_per_epoch
    per_increment = get_base_reward_per_increment(rules, total_active_balance=total_active_balance)
    # Slot `s` is included by the block at `s + delay`; cover[b, s] says whether it is block b that includes s.
    distance = (np.arange(slots)[:, None] - np.arange(slots)[None, :] - 1) % slots + 1
    reach = jnp.where(blocks.present[:, None], distance, slots + 1)
    cover = blocks.present[:, None] & (reach == jnp.min(reach, axis=0)[None, :])
    numerator = jnp.zeros(slots, jnp.uint64)
    for weight, timely, stake in zip(
        participation_flag_weights(rules), timely_slots(rules, blocks), votes, strict=True
    ):
        every = stake // rules.effective_balance_increment_gwei * per_increment * weight
        own = jnp.sum(cover & timely[None, :], axis=1, dtype=jnp.uint64)
        numerator += every * own // jnp.maximum(jnp.sum(timely, dtype=jnp.uint64), 1)
    others = rules.weight_denominator - rules.proposer_weight
    return numerator // (others * rules.weight_denominator // rules.proposer_weight)


@pytree
class SyncRewards:
    """What the sync committee of an epoch earns, Gwei."""

    gains: jax.Array = leaf(unit="Gwei", meaning="[seats], for what was signed")
    losses: jax.Array = leaf(unit="Gwei", meaning="[seats], for what was not")
    proposers: jax.Array = leaf(unit="Gwei", meaning="[S], for including it")


def draw_sync(
    rules: Rules,
    behaviour: Behaviour,
    up: jax.Array,
    blocks: Blocks,
    committee: jax.Array,
    key: jax.Array,
    *,
    total_active_balance: jax.Array,
) -> SyncRewards:
    """Who of the sync committee signs in which slot, and what it earns.

    Source: `process_sync_aggregate` (Altair), for all blocks of an epoch.
    """
    slots, seats = rules.slots_per_epoch, rules.sync_committee_size
    drawn = bits(key, jnp.arange(slots * seats, dtype=jnp.uint32)).reshape(slots, seats)
    able = up.at[committee].get(mode="clip") & (committee < up.shape[0])
    limit = jnp.broadcast_to(of_rows(behaviour.sync, committee), (1, seats))
    signed = happens(drawn, limit) & able[None, :] & blocks.present[:, None]
    participant, proposer = sync_rewards(rules, total_active_balance=total_active_balance)
    counts = jnp.sum(signed, axis=0, dtype=jnp.uint64)
    missed = jnp.sum(blocks.present, dtype=jnp.uint64) - counts
    return SyncRewards(
        gains=counts * participant,
        losses=missed * participant,
        proposers=jnp.sum(signed, axis=1, dtype=jnp.uint64) * proposer,
    )


def pay_sync(balances: jax.Array, committee: jax.Array, sync: SyncRewards) -> tuple[jax.Array, jax.Array]:
    """Balances [V] after the rewards and penalties of the seats, and what was taken in all, Gwei.

    Rewards come before penalties, and a balance stops at zero: penalties of one validator in several seats are the same
    one after another and together.
    """
    rows = balances.shape[0]
    gained = balances.at[committee].add(sync.gains, mode="drop")
    held = gained.at[committee].get(mode="fill", fill_value=0)
    losses = jnp.where(committee < rows, sync.losses, 0)
    left = gained.at[committee].add(-losses, mode="drop")
    wrapped = left.at[committee].get(mode="fill", fill_value=0) > held  # a penalty beyond the balance
    after = left.at[jnp.where(wrapped, committee, rows)].set(0, mode="drop")

    def taken() -> jax.Array:
        same = committee[:, None] == committee[None, :]
        asked = jnp.sum(jnp.where(same, losses[None, :], 0), axis=1)
        first = jnp.argmax(same, axis=1) == jnp.arange(committee.size)
        return jnp.sum(jnp.where(first, jnp.minimum(asked, held), 0))

    return after, jax.lax.cond(jnp.any(wrapped), taken, lambda: jnp.sum(losses))


def of_rows(chance: Any, rows: jax.Array) -> jax.Array:
    """A chance, one for all or one for each row, at some rows, as a threshold."""
    limit = threshold(chance)
    return limit if limit.ndim == 0 else limit.at[rows].get(mode="clip")
