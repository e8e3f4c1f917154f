"""The sweep over validators by all blocks of an epoch, as one pass."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.beacon.accessors import get_current_epoch
from jaxstake.beacon.rules import Rules, has_balance_queues, has_builders
from jaxstake.beacon.state import BeaconState
from jaxstake.beacon.withdrawals import swept
from jaxstake.core.pytree import leaf, pytree

WINDOW = 1 << 11
"""Validators that a sweep by many blocks looks at together."""


def sweeps_alone(rules: Rules, state: BeaconState) -> jax.Array:
    """Whether no withdrawal but those of the sweep over validators can be due."""
    alone = jnp.asarray(True)
    if has_balance_queues(rules):
        alone &= state.pending_partial_withdrawals.length == 0
    if has_builders(rules):
        alone &= (state.builders.length == 0) & (state.builder_pending_withdrawals.length == 0)
    return alone


def sweep_of_blocks(
    rules: Rules, state: BeaconState, n_blocks: jax.Array, *, transferred: jax.Array
) -> tuple[BeaconState, jax.Array, jax.Array]:
    """The sweep over validators by several blocks in a row: `process_withdrawals` once for each, without other kinds.

    Sweeps go on where the last one stopped, so those of all blocks are one pass over rows, which is made `WINDOW` rows
    at a time; a block is full after 16 withdrawals, or ends after 16,384 rows. It equals the blocks one by one where no
    withdrawal of another kind is pending.

    Args:
        rules: of the fork.
        state: whose current epoch all blocks have.
        n_blocks: how many.
        transferred: what came in less what went out of each validator, Gwei, int64 [V].

    Returns:
        The state after them, `transferred` less what was paid, and the sum of that.

    Source: `process_withdrawals`, `get_validators_sweep_withdrawals` (Capella, Electra).
    """
    places, most = rules.max_withdrawals_per_payload, rules.max_validators_per_withdrawals_sweep
    rows, epoch = state.balances.shape[0], get_current_epoch(rules, state)
    width = min(WINDOW, most, rows)
    ahead = jnp.arange(width, dtype=jnp.int64)
    n, span = state.n_validators.astype(jnp.int64), jnp.minimum(most, state.n_validators.astype(jnp.int64))

    def look(sweep: _Sweep) -> _Sweep:
        index = (sweep.begun + sweep.scanned + ahead) % n
        due, amount = swept(rules, state, epoch, index, sweep.balances[index])
        within = ahead < jnp.minimum(span - sweep.scanned, width)
        due &= within
        rank = jnp.cumsum(due, dtype=jnp.int64)  # of those up to here, this one included
        left = sweep.blocks * places - sweep.found
        paid = due & (rank <= left)
        found = sweep.found + jnp.minimum(rank[-1], left)
        full = paid & ((sweep.found + rank) % places == 0)  # the last of a block
        any_full = jnp.any(full)
        after = width - jnp.argmax(full[::-1])  # rows up to the last block that was filled
        seen = jnp.sum(within)
        begun = jnp.where(any_full, (sweep.begun + sweep.scanned + after) % n, sweep.begun)
        scanned = jnp.where(any_full, seen - after, sweep.scanned + seen)
        blocks = sweep.blocks - found // places
        ends = (scanned >= span) & (blocks > 0)  # a block that saw all it may
        place = jnp.where(paid, index, rows)
        return _Sweep(
            balances=sweep.balances.at[place].add(-amount, mode="drop"),
            transferred=sweep.transferred.at[place].add(-amount.astype(jnp.int64), mode="drop"),
            total=sweep.total + jnp.sum(jnp.where(paid, amount, 0), dtype=jnp.uint64),
            count=sweep.count + jnp.sum(paid, dtype=jnp.uint64),
            begun=jnp.where(ends, (begun + most) % n, begun),
            scanned=jnp.where(ends | (blocks == 0), 0, scanned),
            found=jnp.where(ends, 0, found % places),
            blocks=jnp.where(ends, blocks - 1, blocks),
        )

    none = jnp.zeros((), jnp.int64)
    start = _Sweep(
        balances=state.balances,
        transferred=transferred,
        total=jnp.zeros((), jnp.uint64),
        count=state.next_withdrawal_index,
        begun=state.next_withdrawal_validator_index.astype(jnp.int64),
        scanned=none,
        found=none,
        blocks=n_blocks.astype(jnp.int64),
    )
    end = jax.lax.while_loop(lambda sweep: sweep.blocks > 0, look, start)
    state = dataclasses.replace(
        state,
        balances=end.balances,
        next_withdrawal_index=end.count,
        next_withdrawal_validator_index=end.begun.astype(jnp.uint64),
    )
    return state, end.transferred, end.total


@pytree
class _Sweep:
    balances: jax.Array = leaf()
    transferred: jax.Array = leaf()
    total: jax.Array = leaf(unit="Gwei", meaning="paid so far by these blocks")
    count: jax.Array = leaf(meaning="withdrawals so far, of all time")
    begun: jax.Array = leaf(meaning="row at which the block in progress began")
    scanned: jax.Array = leaf(meaning="rows that it has seen")
    found: jax.Array = leaf(meaning="withdrawals that it has")
    blocks: jax.Array = leaf(meaning="blocks left, that one included")
