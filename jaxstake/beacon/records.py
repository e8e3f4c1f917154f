"""What a simulation writes down: sums over the epochs of a window, and a look at the network at its end."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import queues
from jaxstake.beacon.accessors import get_current_epoch, is_active_validator
from jaxstake.beacon.integers import NEVER, saturating_subtract, total
from jaxstake.beacon.quantiles import masked_quantiles
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState
from jaxstake.core.pytree import leaf, pytree

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""Levels of the quantiles over validators."""


@pytree
class Tally:
    """Sums over a window. All balances change by `issued - burnt + deposited - withdrawn - queued`, to the Gwei."""

    epochs: Any = leaf(meaning="in the window")
    blocks: Any = leaf(meaning="slots with a block")
    leak_epochs: Any = leaf(meaning="epochs in an inactivity leak")
    attestation_rewards: Any = leaf(unit="Gwei", meaning="of validators whose epoch ended with a gain")
    attestation_penalties: Any = leaf(unit="Gwei", meaning="of those whose epoch ended with a loss, leak included")
    inactivity_penalties: Any = leaf(unit="Gwei", meaning="part of those penalties that the leak asked for")
    inclusion_rewards: Any = leaf(unit="Gwei", meaning="of proposers, for attestations")
    sync_rewards: Any = leaf(unit="Gwei", meaning="of the sync committee")
    sync_penalties: Any = leaf(unit="Gwei", meaning="of the sync committee")
    sync_inclusion_rewards: Any = leaf(unit="Gwei", meaning="of proposers, for sync aggregates")
    slashing_penalties: Any = leaf(unit="Gwei", meaning="at once, at a slashing")
    slashing_rewards: Any = leaf(unit="Gwei", meaning="of proposers, for reports")
    correlation_penalties: Any = leaf(unit="Gwei", meaning="half a slashings vector later")
    deposited: Any = leaf(unit="Gwei", meaning="credited from the queue of deposits")
    withdrawn: Any = leaf(unit="Gwei", meaning="paid out by the sweep")
    queued: Any = leaf(unit="Gwei", meaning="moved from balances to the queue of deposits")
    target_share: Any = leaf(meaning="stake that got the target right, over the active stake; summed over epochs")
    block_value_eth: Any = leaf(unit="ETH", meaning="execution income of proposers")


ISSUED = ("attestation_rewards", "inclusion_rewards", "sync_rewards", "sync_inclusion_rewards", "slashing_rewards")
BURNT = ("attestation_penalties", "sync_penalties", "slashing_penalties", "correlation_penalties")
_FLOATS = ("target_share", "block_value_eth")


@pytree
class Record:
    """A window of a simulation, or with a leading axis [R] all of them."""

    tally: Tally = leaf()
    epoch: Any = leaf(unit="epoch", meaning="of the chain, after the window")
    active_validators: Any = leaf(meaning="at the end of the window")
    active_stake: Any = leaf(unit="Gwei", meaning="effective balance of active validators")
    balance: Any = leaf(unit="Gwei", meaning="of all validators")
    entered_validators: Any = leaf(meaning="became active in the window")
    left_validators: Any = leaf(meaning="ceased to be active in the window")
    slashed_validators: Any = leaf(meaning="of all that ever were")
    exiting_validators: Any = leaf(meaning="active, with an exit epoch")
    finalized_epoch: Any = leaf(unit="epoch", meaning="the last one that is final")
    pending_deposits: Any = leaf(meaning="entries of the queue")
    pending_deposits_amount: Any = leaf(unit="Gwei", meaning="of the entries of the queue")
    pending_consolidations: Any = leaf(meaning="entries of the queue")
    exit_wait_epochs: Any = leaf(unit="epoch", meaning="from now to the head of the exit queue")
    consolidation_wait_epochs: Any = leaf(unit="epoch", meaning="from now to the head of the queue of consolidations")
    consensus_income_eth: Any = leaf(unit="ETH", meaning="[levels] quantiles over validators, since the start")
    income_eth: Any = leaf(unit="ETH", meaning="[levels] quantiles over validators, since the start, with block values")
    traced: Any = leaf(meaning="[K] by name: balances, effective balances, scores and incomes of chosen validators")


def no_tally() -> Tally:
    """Sums of no epoch."""
    names = [field.name for field in dataclasses.fields(Tally)]
    return Tally(**{name: jnp.zeros((), jnp.float64 if name in _FLOATS else jnp.uint64) for name in names})


def added(tally: Tally, **amounts: jax.Array) -> Tally:
    """The sums with amounts added by name."""
    for name, amount in amounts.items():
        before = getattr(tally, name)
        tally = dataclasses.replace(tally, **{name: before + amount.astype(before.dtype)})
    return tally


def issued(tally: Tally) -> Any:
    """All rewards, Gwei."""
    return sum(getattr(tally, name) for name in ISSUED)


def burnt(tally: Tally) -> Any:
    """All penalties, Gwei."""
    return sum(getattr(tally, name) for name in BURNT)


def look(
    rules: Rules,
    state: BeaconState,
    tally: Tally,
    *,
    consensus_income_eth: jax.Array,
    execution_income_eth: jax.Array,
    counted: jax.Array,
    levels: tuple[float, ...],
    traced: tuple[int, ...],
) -> Record:
    """A record of the sums and of the state.

    Args:
        rules: of the fork.
        state: after the window.
        tally: sums over it.
        consensus_income_eth: of every validator since the start, [V].
        execution_income_eth: block values of every validator since the start, [V].
        counted: who is in the quantiles, bool [V]: who was there at the start.
        levels: of the quantiles; static.
        traced: rows to write down one by one; static.
    """
    now = get_current_epoch(rules, state)
    active = is_active_validator(state, now)
    zero = jnp.zeros((), jnp.uint64)
    later, began = has_balance_queues(rules), now - tally.epochs
    deposits = state.pending_deposits
    place = np.asarray(traced, np.int64)
    both = consensus_income_eth + execution_income_eth
    exits = jnp.max(jnp.where(state.exit_epoch == NEVER, 0, state.exit_epoch))
    return Record(
        tally=tally,
        epoch=now,
        active_validators=jnp.sum(active, dtype=jnp.uint64),
        active_stake=total(jnp.where(active, state.effective_balance, 0)),
        balance=total(state.balances),
        entered_validators=_within(state.activation_epoch, began, now),
        left_validators=_within(state.exit_epoch, began, now),
        slashed_validators=jnp.sum(state.slashed, dtype=jnp.uint64),
        exiting_validators=jnp.sum(active & (state.exit_epoch != NEVER), dtype=jnp.uint64),
        finalized_epoch=state.finalized_epoch,
        pending_deposits=deposits.length if later else zero,
        pending_deposits_amount=jnp.sum(jnp.where(queues.filled(deposits), deposits.amount, 0)) if later else zero,
        pending_consolidations=state.pending_consolidations.length if later else zero,
        exit_wait_epochs=saturating_subtract(state.earliest_exit_epoch if later else exits, now),
        consolidation_wait_epochs=saturating_subtract(state.earliest_consolidation_epoch, now) if later else zero,
        consensus_income_eth=masked_quantiles(consensus_income_eth, counted, levels),
        income_eth=masked_quantiles(both, counted, levels),
        traced={
            "balance": state.balances[place],
            "effective_balance": state.effective_balance[place],
            "inactivity_score": state.inactivity_scores[place],
            "consensus_income_eth": consensus_income_eth[place],
            "execution_income_eth": execution_income_eth[place],
        },
    )


def _within(epochs: jax.Array, after: jax.Array, until: jax.Array) -> jax.Array:
    """How many of the epochs [V] are later than one and no later than another, uint64."""
    return jnp.sum((epochs > after) & (epochs <= until), dtype=jnp.uint64)
