"""The plain step that a simulation is compared with: the accounting of attestations and nothing else.

Votes are drawn, and paid by the totals of the epoch; scores, the leak and effective balances follow. Nobody proposes,
signs, enters, leaves, withdraws or is slashed, and nothing is written down. Rewards are looked up by increments, as a
division for every validator would take longer than the rest; none of the other divisions rounds a negative number, so
they need no correction of the sign.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon.behaviour import Behaviour
from jaxstake.beacon.draws import bits, happens
from jaxstake.beacon.integers import sums
from jaxstake.beacon.rules import Rules

Carry = tuple[jax.Array, jax.Array, jax.Array, jax.Array]
"""Balances and effective balances, Gwei int64; scores, int64; flags of the epoch before, uint8."""
COLUMNS = ("balances", "effective_balance", "inactivity_scores")


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def run(r: Rules, carry: Carry, behaviour: Behaviour, n_epochs: jax.Array, key: jax.Array) -> Carry:
    """Epochs in a row."""
    return jax.lax.fori_loop(
        0, n_epochs, lambda turn, carry: _step(r, carry, behaviour, jax.random.fold_in(key, turn)), carry
    )


def _step(r: Rules, carry: Carry, behaviour: Behaviour, key: jax.Array) -> Carry:
    balances, effective, scores, before = carry
    drawn = bits(key, jnp.arange(before.shape[0], dtype=jnp.uint32))
    chances = (behaviour.source, behaviour.target, behaviour.head)
    now = sum(happens(drawn, chance).astype(jnp.uint8) << flag for flag, chance in enumerate(chances))
    held = [jnp.where(before & (1 << flag) != 0, effective, 0) for flag in range(3)]
    total, *held = sums(effective, *held)
    leak = held[1] * 3 < total * 2
    reached = before & 2 != 0
    scores = jnp.where(reached, jnp.maximum(scores - 1, 0), scores + r.inactivity_score_bias)
    scores = jnp.where(leak, scores, jnp.maximum(scores - r.inactivity_score_recovery_rate, 0))

    increment = r.effective_balance_increment_gwei
    place = jax.lax.div(effective, jnp.int64(increment)).astype(jnp.int32) * 8 + before.astype(jnp.int32)
    change = _changes(r, total, held, leak).at[place].get(mode="clip")
    quotient = r.inactivity_score_bias * r.inactivity_penalty_quotient
    leaked = jnp.where(reached, 0, jax.lax.div(effective * scores, jnp.int64(quotient)))
    balances = jnp.maximum(balances + change - leaked, 0)

    outside = (balances + increment // 4 < effective) | (effective + increment * 5 // 4 < balances)
    most = jnp.where(effective > r.min_activation_balance_gwei, r.max_effective_balance_gwei, 32 * increment)
    rounded = jnp.minimum(jax.lax.div(balances, jnp.int64(increment)) * increment, most)
    return balances, jnp.where(outside, rounded, effective), scores, jnp.asarray(now, jnp.uint8)


def _changes(r: Rules, total: jax.Array, held: list[jax.Array], leak: jax.Array) -> jax.Array:
    """Rewards less penalties by increments and flags held, Gwei [2049 * 8]."""
    increment = r.effective_balance_increment_gwei
    root = jnp.sqrt(total.astype(jnp.float64)).astype(jnp.int64)
    base = jnp.arange(r.max_effective_balance_gwei // increment + 1) * (r.base_reward_factor * increment // root)
    found = jnp.zeros((base.size, 8), jnp.int64)
    weights = (r.timely_source_weight, r.timely_target_weight, r.timely_head_weight)
    for flag, (weight, stake) in enumerate(zip(weights, held, strict=True)):
        reward = base * weight * (stake // increment) // (total // increment * r.weight_denominator)
        penalty = jnp.zeros_like(base) if flag == 2 else base * weight // r.weight_denominator
        holds = np.arange(8) & (1 << flag) != 0
        found += jnp.where(holds[None, :], jnp.where(leak, 0, reward)[:, None], -penalty[:, None])
    # As a branch, since XLA would work out the entries anew for every validator otherwise.
    return jax.lax.cond(total > 0, lambda: found.ravel(), lambda: jnp.zeros(found.size, jnp.int64))
