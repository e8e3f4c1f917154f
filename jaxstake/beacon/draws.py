"""Random draws of the engine: a number for each validator and epoch by hashing, and validators by effective balance.

A simulation of a million validators draws 10^11 numbers a year. A cryptographic counter would take as long as all the
rest, so bits come from two rounds of the finalizer of MurmurHash3 over the row, keyed anew for every epoch and purpose
by JAX's own generator. A draw depends on its key and its row only, so it is the same on any number of devices.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon.accessors import get_current_epoch, is_active_validator
from jaxstake.beacon.integers import NEVER
from jaxstake.beacon.rules import Rules, has_balance_queues
from jaxstake.beacon.state import BeaconState

ONE = 1 << 31
"""A chance of 1 as a threshold on 31 random bits."""
MOST_ROWS = 1 << 24
"""Rows among which candidates can be drawn evenly, from 40 bits."""
CANDIDATES, PATIENCE, MOST_ROUNDS = 1 << 12, 16, 1 << 12
"""Validators looked at in a round of sampling by balance; rounds before asking whether anybody is active at all; and
rounds after which a place stays empty."""


def bits(key: jax.Array, index: jax.Array) -> jax.Array:
    """32 random bits for each index, uint32; `key` is new style, from `jax.random.key`."""
    words = jax.random.bits(key, (2,), jnp.uint32)
    return _mixed(_mixed(index.astype(jnp.uint32) ^ words[0]) + words[1])


def threshold(chance: jax.Array) -> jax.Array:
    """A chance as a number of 2^31, uint32; 0 and 1 are exact."""
    return jnp.round(jnp.clip(jnp.asarray(chance, jnp.float64), 0.0, 1.0) * ONE).astype(jnp.uint32)


def happens(drawn: jax.Array, chance: jax.Array) -> jax.Array:
    """Whether an event of a chance, or of a `threshold` on it, happens for 32 drawn bits."""
    limit = chance if jnp.result_type(chance) == jnp.uint32 else threshold(chance)
    return (drawn >> 1) < limit


def acceptance(rules: Rules, effective_balance: jax.Array, drawn: jax.Array) -> jax.Array:
    """Whether a candidate for a proposal or a seat is taken, for 32 drawn bits.

    `EB * (2^k - 1) >= MAX_EFFECTIVE_BALANCE * r` with r uniform on k bits: 8, from Electra 16.

    Source: `compute_proposer_index`, `get_next_sync_committee_indices` (Altair, Electra).
    """
    k = 16 if has_balance_queues(rules) else 8
    r = (drawn >> (32 - k)).astype(jnp.uint64)
    return effective_balance * np.uint64(2**k - 1) >= np.uint64(rules.max_effective_balance_gwei) * r


def sample_by_balance(rules: Rules, state: BeaconState, key: jax.Array, places: int) -> jax.Array:
    """Rows of active validators, drawn with replacement in proportion to effective balance, int64 [places].

    As in the specification candidates are drawn uniformly and accepted by their balance, so the odds have the
    specification's rounding. There whoever was refused is not asked again before all others were, which changes the
    odds by a share of the order of one over the number of validators. The number of rows marks a place for which there
    was nobody.

    Args:
        rules: of the fork.
        state: from whose current epoch the active validators are taken.
        key: of this drawing.
        places: how many to draw; static.

    Source: `compute_proposer_index` (phase 0, Electra).
    """
    index = jnp.arange(CANDIDATES, dtype=jnp.uint32)

    def rows_of(turn: jax.Array) -> jax.Array:
        high, low = (bits(k, index) for k in jax.random.split(jax.random.fold_in(key, turn)))
        wide = (high.astype(jnp.uint64) << 8) | (low >> 24).astype(jnp.uint64)  # 40 bits, so 2^24 rows fit
        return ((wide * state.n_validators) >> 40).astype(jnp.int64)

    return _filled(rules, state, key, places, rows_of)


def sample_committee(rules: Rules, state: BeaconState, key: jax.Array) -> jax.Array:
    """Rows of the next sync committee, int64 [SYNC_COMMITTEE_SIZE]; the number of rows where there is nobody.

    The active validators are asked in a random order, and accepted by their balance, until all seats are filled; if
    need be again in the same order.

    Source: `get_next_sync_committee_indices` (Altair, Electra), in distribution.
    """
    rows = state.balances.shape[0]
    active = is_active_validator(state, get_current_epoch(rules, state))
    index = jnp.arange(rows, dtype=jnp.uint32)
    drawn = bits(jax.random.fold_in(key, MOST_ROUNDS), index).astype(jnp.uint64) << 32 | index.astype(jnp.uint64)
    order = (jnp.sort(jnp.where(active, drawn, NEVER)) & np.uint64(2**32 - 1)).astype(jnp.int64)
    n = jnp.maximum(jnp.sum(active, dtype=jnp.int64), 1)
    place = jnp.arange(CANDIDATES, dtype=jnp.int64)

    def rows_of(turn: jax.Array) -> jax.Array:
        return jnp.minimum(order[(turn.astype(jnp.int64) * CANDIDATES + place) % n], rows - 1)

    return _filled(rules, state, key, rules.sync_committee_size, rows_of)


def _filled(
    rules: Rules, state: BeaconState, key: jax.Array, places: int, rows_of: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """The first active candidates [places] that are accepted; `rows_of` gives the candidates of a round."""
    epoch, rows = get_current_epoch(rules, state), state.balances.shape[0]
    index = jnp.arange(CANDIDATES, dtype=jnp.uint32)

    def anybody() -> jax.Array:
        return jnp.any(is_active_validator(state, epoch) & (state.effective_balance > 0))

    def more(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, found, turn = carry
        some = jax.lax.cond(turn == PATIENCE, anybody, lambda: jnp.asarray(True))
        return (found < places) & (turn < MOST_ROUNDS) & some

    def draw(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        chosen, found, turn = carry
        row, last = rows_of(turn), bits(jax.random.fold_in(jax.random.fold_in(key, turn), 1), index)
        active = (state.activation_epoch[row] <= epoch) & (epoch < state.exit_epoch[row])
        taken = active & acceptance(rules, state.effective_balance[row], last)
        rank = found + jnp.cumsum(taken, dtype=jnp.int64) - 1
        chosen = chosen.at[jnp.where(taken, rank, places)].set(row, mode="drop")
        return chosen, found + jnp.sum(taken, dtype=jnp.int64), turn + 1

    nobody = jnp.full(places, rows, jnp.int64)
    return jax.lax.while_loop(more, draw, (nobody, jnp.zeros((), jnp.int64), jnp.zeros((), jnp.int32)))[0]


def _mixed(word: jax.Array) -> jax.Array:
    """The finalizer of MurmurHash3 (A. Appleby, public domain): a bijection of 32 bits that mixes them all."""
    word = (word ^ (word >> 16)) * np.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * np.uint32(0xC2B2AE35)
    return word ^ (word >> 16)
