"""Withdrawals that a block pays: builders (Gloas), requested parts (Electra), and the sweep over validators (Capella).

A block has a fixed number of places, and each kind fills those that the kinds before it left. A sweep reads a window of
validators at once: within it no validator is met twice, so all are judged on their balances after the withdrawals of
the other kinds, and the first that fit are paid.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import queues
from jaxstake.beacon.accessors import (
    get_current_epoch,
    get_max_effective_balance,
    has_execution_withdrawal_credential,
)
from jaxstake.beacon.integers import NEVER, count, masked_sum, saturating_subtract
from jaxstake.beacon.rules import Rules, has_balance_queues, has_builders
from jaxstake.beacon.state import BeaconState
from jaxstake.core.pytree import leaf, pytree

BUILDER_INDEX_FLAG = np.uint64(2**40)
"""Marks the index of a builder in place of a validator's (Gloas)."""


@pytree
class ExpectedWithdrawals:
    """The withdrawals of one block in order, [MAX_WITHDRAWALS_PER_PAYLOAD], and what of the queues they use up.

    Source: `ExpectedWithdrawals` (Capella, Electra, Gloas).
    """

    validator_index: jax.Array = leaf(meaning="a builder's index with BUILDER_INDEX_FLAG; never for an unused place")
    amount: jax.Array = leaf(unit="Gwei")
    length: jax.Array = leaf()
    processed_builder_withdrawals_count: jax.Array = leaf(default=None)
    processed_partial_withdrawals_count: jax.Array = leaf(default=None)
    processed_builders_sweep_count: jax.Array = leaf(default=None)


def is_fully_withdrawable_validator(
    rules: Rules, *, cred_prefix: jax.Array, withdrawable_epoch: jax.Array, balance: jax.Array, epoch: jax.Array
) -> jax.Array:
    """Whether the whole balance is paid out (Capella, Electra)."""
    payable = has_execution_withdrawal_credential(rules, cred_prefix)
    return payable & (withdrawable_epoch <= epoch) & (balance > 0)


def is_partially_withdrawable_validator(
    rules: Rules, *, cred_prefix: jax.Array, effective_balance: jax.Array, balance: jax.Array
) -> jax.Array:
    """Whether what exceeds the largest effective balance is paid out (Capella, Electra)."""
    most = get_max_effective_balance(rules, cred_prefix)
    payable = has_execution_withdrawal_credential(rules, cred_prefix)
    return payable & (effective_balance == most) & (balance > most)


def get_expected_withdrawals(rules: Rules, state: BeaconState) -> ExpectedWithdrawals:
    """What the next block pays.

    Source: `get_expected_withdrawals` (Capella, Electra, Gloas).
    """
    places = rules.max_withdrawals_per_payload
    expected = ExpectedWithdrawals(
        validator_index=jnp.full(places, NEVER, jnp.uint64),
        amount=jnp.zeros(places, jnp.uint64),
        length=jnp.zeros((), jnp.uint64),
    )
    if has_builders(rules):
        expected = get_builder_withdrawals(rules, state, expected)
    if has_balance_queues(rules):
        expected = get_pending_partial_withdrawals(rules, state, expected)
    if has_builders(rules):
        expected = get_builders_sweep_withdrawals(rules, state, expected)
    return get_validators_sweep_withdrawals(rules, state, expected)


def get_builder_withdrawals(rules: Rules, state: BeaconState, prior: ExpectedWithdrawals) -> ExpectedWithdrawals:
    """Queued payments of builders, all but one of the places at most (Gloas)."""
    queue, limit = state.builder_pending_withdrawals, rules.max_withdrawals_per_payload - 1
    room = saturating_subtract(jnp.uint64(limit), prior.length)
    n = jnp.minimum(queue.length, room)
    ahead = min(limit, queues.capacity(queue))
    expected = _add(
        prior,
        queue.builder_index[:ahead] | BUILDER_INDEX_FLAG,
        queue.amount[:ahead],
        jnp.arange(ahead, dtype=jnp.uint64) < n,
    )
    return dataclasses.replace(expected, processed_builder_withdrawals_count=n)


def get_pending_partial_withdrawals(
    rules: Rules, state: BeaconState, prior: ExpectedWithdrawals
) -> ExpectedWithdrawals:
    """Requested partial withdrawals from the head of their queue; what cannot be paid is dropped (Electra)."""
    queue, epoch = state.pending_partial_withdrawals, get_current_epoch(rules, state)
    none = jnp.zeros((), jnp.uint64)
    if queues.capacity(queue) == 0:
        return dataclasses.replace(prior, processed_partial_withdrawals_count=none)
    most = prior.length + rules.max_pending_partials_per_withdrawals_sweep
    limit = jnp.minimum(most, rules.max_withdrawals_per_payload - 1)

    def goes_on(carry: tuple[jax.Array, ExpectedWithdrawals]) -> jax.Array:
        place, expected = carry
        due = queue.withdrawable_epoch.at[place].get(mode="clip") <= epoch
        return (place < queue.length) & due & (expected.length < limit)

    def next_request(carry: tuple[jax.Array, ExpectedWithdrawals]) -> tuple[jax.Array, ExpectedWithdrawals]:
        place, expected = carry
        index = queue.validator_index[place]
        withdrawn = masked_sum(expected.amount, expected.validator_index == index)
        balance, keep = state.balances[index] - withdrawn, rules.min_activation_balance_gwei
        eligible = (state.exit_epoch[index] == NEVER) & (state.effective_balance[index] >= keep) & (balance > keep)
        amount = jnp.minimum(balance - keep, queue.amount[place])
        return place + 1, _add(expected, index[None], amount[None], eligible[None])

    n, expected = jax.lax.while_loop(goes_on, next_request, (none, prior))
    return dataclasses.replace(expected, processed_partial_withdrawals_count=n)


def get_builders_sweep_withdrawals(rules: Rules, state: BeaconState, prior: ExpectedWithdrawals) -> ExpectedWithdrawals:
    """Balances of builders that have left, from where the last sweep stopped (Gloas)."""
    builders, limit = state.builders, rules.max_withdrawals_per_payload - 1
    window = min(rules.max_builders_per_withdrawals_sweep, queues.capacity(builders))
    if window == 0:
        return dataclasses.replace(prior, processed_builders_sweep_count=jnp.zeros((), jnp.uint64))
    index, within = _window(state.next_withdrawal_builder_index, builders.length, window)
    due = builders.withdrawable_epoch[index] <= get_current_epoch(rules, state)
    balance = builders.balance[index]
    room = saturating_subtract(jnp.uint64(limit), prior.length)
    paid = within & due & (balance > 0)
    ahead = jnp.cumsum(paid, dtype=jnp.uint64) - paid.astype(jnp.uint64)
    reached = within & (ahead < room)  # looked at before the places run out
    expected = _add(prior, index | BUILDER_INDEX_FLAG, balance, paid & reached)
    return dataclasses.replace(expected, processed_builders_sweep_count=count(reached))


def get_validators_sweep_withdrawals(
    rules: Rules, state: BeaconState, prior: ExpectedWithdrawals
) -> ExpectedWithdrawals:
    """Balances of who has left and what exceeds the largest effective balance, from where the last sweep stopped.

    Source: `get_validators_sweep_withdrawals` (Capella, Electra).
    """
    window = min(rules.max_validators_per_withdrawals_sweep, state.balances.shape[0])
    index, within = _window(state.next_withdrawal_validator_index, state.n_validators, window)
    mine = prior.validator_index[None, :] == index[:, None]
    withdrawn = jnp.sum(jnp.where(mine, prior.amount[None, :], 0), axis=1, dtype=jnp.uint64)
    due, amount = swept(rules, state, get_current_epoch(rules, state), index, state.balances[index] - withdrawn)
    return _add(prior, index, amount, within & due)


def swept(
    rules: Rules, state: BeaconState, epoch: jax.Array, index: jax.Array, balance: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Which of some validators the sweep over validators pays, and how much, Gwei."""
    prefix = state.cred_prefix[index]
    full = is_fully_withdrawable_validator(
        rules,
        cred_prefix=prefix,
        withdrawable_epoch=state.withdrawable_epoch[index],
        balance=balance,
        epoch=epoch,
    )
    excess = is_partially_withdrawable_validator(
        rules, cred_prefix=prefix, effective_balance=state.effective_balance[index], balance=balance
    )
    return full | excess, jnp.where(full, balance, balance - get_max_effective_balance(rules, prefix))


def process_withdrawals(rules: Rules, state: BeaconState) -> tuple[BeaconState, ExpectedWithdrawals]:
    """Pay what the block expects, and move the queues and sweeps on.

    Source: `process_withdrawals` (Capella, Electra, Gloas); from Gloas only for a block whose parent has a payload.
    """
    expected = get_expected_withdrawals(rules, state)
    rows, places = state.balances.shape[0], rules.max_withdrawals_per_payload
    index = jnp.where(expected.validator_index < rows, expected.validator_index, rows)  # builders are dropped
    last = expected.validator_index[places - 1]
    swept = jnp.where(
        expected.length == places,
        last + 1,
        state.next_withdrawal_validator_index + rules.max_validators_per_withdrawals_sweep,
    )
    state = dataclasses.replace(
        state,
        balances=state.balances.at[index].add(-expected.amount, mode="drop"),
        next_withdrawal_index=state.next_withdrawal_index + expected.length,
        next_withdrawal_validator_index=swept % state.n_validators,
    )
    if has_balance_queues(rules):
        n = expected.processed_partial_withdrawals_count
        rest = queues.drop_first(state.pending_partial_withdrawals, n)
        state = dataclasses.replace(state, pending_partial_withdrawals=rest)
    if has_builders(rules):
        state = _pay_builders(state, expected)
    return state, expected


def _pay_builders(state: BeaconState, expected: ExpectedWithdrawals) -> BeaconState:
    """Take what builders pay from their balances, at most all, and move their queue and sweep on (Gloas)."""
    builders = state.builders
    to_builder = (expected.validator_index != NEVER) & (expected.validator_index & BUILDER_INDEX_FLAG != 0)
    rows = queues.capacity(builders)
    index = jnp.where(to_builder, expected.validator_index & ~BUILDER_INDEX_FLAG, rows)
    paid = jnp.zeros_like(builders.balance).at[index].add(expected.amount, mode="drop")
    start = state.next_withdrawal_builder_index
    moved = (start + expected.processed_builders_sweep_count) % jnp.maximum(builders.length, 1)
    return dataclasses.replace(
        state,
        builders=dataclasses.replace(builders, balance=saturating_subtract(builders.balance, paid)),
        builder_pending_withdrawals=queues.drop_first(
            state.builder_pending_withdrawals, expected.processed_builder_withdrawals_count
        ),
        next_withdrawal_builder_index=jnp.where(builders.length > 0, moved, start),
    )


def _window(start: jax.Array, length: jax.Array, window: int) -> tuple[jax.Array, jax.Array]:
    """Indices [window] from `start` on, round a list of a length, and which of them are the first round."""
    places = jnp.arange(window, dtype=jnp.uint64)
    return (start + places) % jnp.maximum(length, 1), places < length


def _add(prior: ExpectedWithdrawals, index: jax.Array, amount: jax.Array, mask: jax.Array) -> ExpectedWithdrawals:
    """Withdrawals with those of a mask [K] behind them, as far as there are places."""
    places = prior.amount.shape[0]
    where = prior.length.astype(jnp.int64) + jnp.cumsum(mask, dtype=jnp.int64) - 1
    where = jnp.where(mask, where, places)
    total = prior.length + count(mask)
    return dataclasses.replace(
        prior,
        validator_index=prior.validator_index.at[where].set(index, mode="drop"),
        amount=prior.amount.at[where].set(amount, mode="drop"),
        length=jnp.minimum(total, places),
    )
