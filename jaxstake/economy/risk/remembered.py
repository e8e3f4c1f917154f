"""Yearly returns by Monte Carlo where payments remember: one block after the other, across the slots between them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import every, in_domains, poison
from jaxstake.core.numerics import as_float
from jaxstake.economy.memory import Memory, MemoryState, advance, payment_of, stationary
from jaxstake.economy.risk.income import IncomeLaw


def remembered_returns(law: IncomeLaw, memory: Memory, *, key: jax.Array, lanes: int) -> jax.Array:
    """Returns per year of an operator whose blocks pay more when those around them do.

    The operator's slots are drawn one after the other, with a geometric number of slots between two; the normal number
    behind the payment advances by as many. Without memory the law is that of `distribution`.

    Args:
        law: income of the operator, scalars; its block value needs a quantile.
        memory: dependence of the payments.
        key: random key, new style.
        lanes: number of years to draw, > 0; sets the shape.

    Returns:
        [lanes] returns per year; NaN where a traced leaf is out of range.

    Raises:
        ValueError: a concrete leaf is out of range, or lanes is less than 1.

    Example:
        >>> from jaxstake.economy.memory import ar1
        >>> from jaxstake.economy.risk.income import income_law
        >>> from jaxstake.economy.scenario import Scenario
        >>> found = remembered_returns(income_law(Scenario()), ar1(0.4), key=jax.random.key(0), lanes=64)
        >>> found.shape, bool(jnp.all(found > 0.015))
        ((64,), True)
    """
    if lanes < 1:
        raise ValueError(f"lanes must be at least 1, got {lanes}")
    ok = every(in_domains(law), in_domains(memory))
    dtype = jnp.result_type(*jax.tree.leaves(law), float)
    state_key, seat_key, walk_key = jax.random.split(key, 3)
    rate = -jnp.log1p(-jnp.asarray(law.proposal_chance, dtype))

    def going(carry: tuple[Any, ...]) -> jax.Array:
        return jnp.any(carry[0] <= law.slots)

    def step(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        slot, total, state, number = carry
        gap_key, move_key = jax.random.split(jax.random.fold_in(walk_key, number))
        gap = jnp.maximum(jnp.ceil(jax.random.exponential(gap_key, (lanes,), dtype) / rate), 1.0)
        state, score = advance(memory, state, slots=gap, key=move_key)
        slot = slot + gap
        payment = law.fixed_eth + payment_of(law.block_value, score)
        return slot, total + jnp.where(slot <= law.slots, payment, 0.0), state, number + 1

    start = stationary(memory, key=state_key, shape=(lanes,))
    start = MemoryState(level=start.level.astype(dtype), short=start.short.astype(dtype))
    nothing = jnp.zeros(lanes, dtype)
    _, total, _, _ = jax.lax.while_loop(going, step, (nothing, nothing, start, jnp.int32(0)))
    trials, chance = (jnp.asarray(value, dtype) for value in (jnp.round(as_float(law.seat_trials)), law.seat_chance))
    seats = jax.random.binomial(seat_key, trials, chance, shape=(lanes,), dtype=dtype)
    income = law.steady_eth + total + seats * law.seat_eth
    return as_float(poison(ok, income / law.capital_eth_years))
