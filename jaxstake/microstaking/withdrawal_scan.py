"""The withdrawal queue epoch by epoch with a backlog per request: hard or soft, with cancellations.

The definition that `withdrawal_classes` shortens. Its cost is epochs times requests, so it is for thousands of them.
Every Gwei is served, waits or is cancelled: exactly so with int64 amounts, to rounding with floats.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.withdrawals import soft_served


@pytree
class Ledger:
    """What became of each request by the end; `served + waiting + cancelled` is what was asked for."""

    served: jax.Array = leaf(meaning="[N] paid out")
    waiting: jax.Array = leaf(meaning="[N] still waits")
    cancelled: jax.Array = leaf(meaning="[N] taken back unserved")
    finish: jax.Array = leaf(unit="epochs", meaning="[N] epoch in which the last of it was served, -1 if it was not")
    waited: jax.Array = leaf(meaning="[N] sum over epochs of what waited after each: amount times epochs")
    flow: jax.Array = leaf(meaning="[E] served in each epoch")


def serve(
    *,
    amounts: jax.Array,
    arrivals: jax.Array,
    virtual_arrivals: jax.Array,
    churn: Any,
    epochs: int,
    cancelled_at: jax.Array | None = None,
    temperature: Scalar | None = None,
) -> Ledger:
    """Serve requests in the order of their virtual arrivals, equal ones in the order given.

    Equation, hard: `served_i = clip(churn - what waits ahead of i, 0, what waits of i)`; soft: `soft_served`, in which
    a request is finished when less than a rounding of it is left.

    Args:
        amounts: [N] requests, >= 0: int64 Gwei (exact) or floats.
        arrivals: [N] epochs, integers >= 0; served in that epoch at the earliest.
        virtual_arrivals: [N] epochs (`withdrawals.virtual_arrivals`).
        churn: limit per epoch, the unit of amounts, > 0; a number or [epochs].
        epochs: how many epochs to serve; static.
        cancelled_at: [N] epoch before whose service the rest of the request is taken back; default never.
        temperature: None for the hard order, or epochs of softness, > 0.

    Returns:
        `Ledger` in the unit of amounts. A traced value outside its range makes floats NaN and integers -1.

    Raises:
        ValueError: a concrete value is outside its range, or an array is of another shape.

    Example:
        >>> found = serve(amounts=jnp.asarray([3.0, 1.0]), arrivals=jnp.asarray([0, 1]), churn=1.0, epochs=3,
        ...               virtual_arrivals=jnp.asarray([0.0, -1.0]))
        >>> found.served.tolist(), found.waiting.tolist(), found.finish.tolist()
        ([2.0, 1.0], [1.0, 0.0], [-1, 1])
    """
    amounts, limits, ok = _checked(amounts, arrivals, virtual_arrivals, churn, epochs)
    leaving = jnp.full(jnp.shape(arrivals), epochs) if cancelled_at is None else cancelled_at
    order = jnp.argsort(virtual_arrivals, stable=True)
    mine, arrival, leave, virtual = (x[order] for x in (amounts, jnp.asarray(arrivals), leaving, virtual_arrivals))
    smallest = 0 if jnp.issubdtype(amounts.dtype, jnp.integer) else 4 * jnp.finfo(amounts.dtype).eps * mine

    def hard(waiting: jax.Array, limit: jax.Array) -> jax.Array:
        return jnp.clip(limit - (jnp.cumsum(waiting) - waiting), 0, waiting)

    def soft(waiting: jax.Array, limit: jax.Array) -> jax.Array:
        return soft_served(amounts=waiting, priorities=-virtual, churn=limit, temperature=temperature)  # type: ignore[arg-type]

    rule = hard if temperature is None else soft

    def epoch(state: tuple[jax.Array, ...], now: tuple[jax.Array, jax.Array]) -> tuple[tuple[jax.Array, ...], Any]:
        waiting, paid, cancelled, finish, waited = state
        time, limit = now
        waiting = jnp.where(arrival == time, mine, waiting)
        gone = jnp.where(leave == time, waiting, 0)
        # one that is cancelled on arrival is never served, and one cancelled before it arrives is not undone
        waiting = waiting - gone
        out = rule(waiting, limit)
        waiting = waiting - out
        here = (arrival <= time) & (finish < 0) & (waiting <= smallest) & (cancelled + gone <= 0)
        finish = jnp.where(here, time, finish)
        return (waiting, paid + out, cancelled + gone, finish, waited + waiting), jnp.sum(out)

    zero = jnp.zeros_like(mine)
    start = (zero, zero, zero, jnp.full(mine.shape, -1), zero)
    (waiting, paid, cancelled, finish, waited), flow = jax.lax.scan(epoch, start, (jnp.arange(epochs), limits))
    later = jnp.where(arrival >= epochs, mine, 0)  # not yet arrived: it waits
    found = Ledger(served=paid, waiting=waiting + later, cancelled=cancelled, finish=finish, waited=waited, flow=flow)
    back = jnp.argsort(order)
    return jax.tree.map(lambda x: _marked(ok, x if x is flow else x[back]), found)


def _marked(ok: jax.Array | bool, value: jax.Array) -> jax.Array:
    if ok is True:
        return value
    return jnp.where(ok, value, -1 if jnp.issubdtype(value.dtype, jnp.integer) else jnp.nan)


def _checked(
    amounts: jax.Array, arrivals: jax.Array, virtual_arrivals: jax.Array, churn: Any, epochs: int
) -> tuple[jax.Array, jax.Array, jax.Array | bool]:
    amounts, churn = jnp.asarray(amounts), jnp.asarray(churn)
    shapes = {jnp.shape(x) for x in (amounts, arrivals, virtual_arrivals)}
    if len(shapes) != 1 or amounts.ndim != 1 or amounts.size == 0:
        raise ValueError(f"amounts, arrivals and virtual_arrivals must be vectors of one length, got {sorted(shapes)}")
    if not epochs >= 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}")
    if churn.shape not in ((), (epochs,)):
        raise ValueError(f"churn must be a number or [{epochs}], one per epoch, got shape {churn.shape}")
    conditions = (
        confirm(amounts >= 0, "amounts must be at least 0, got {value}", value=amounts),
        confirm(churn > 0, "churn must be greater than 0, got {value}", value=churn),
        confirm(arrivals >= 0, "arrivals must be at least 0, got {value}", value=arrivals),
    )
    ok = every(*(True if each is True else jnp.all(each) for each in conditions))
    return amounts, jnp.broadcast_to(churn.astype(amounts.dtype), (epochs,)), ok
