"""The first in, first out queue driven with a recorded one: what must have arrived, and how long it then waits."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.microstaking.withdrawal_classes import fifo_finish

EPOCHS_PER_DAY = 225


@pytree
class Replay:
    """A recorded queue, D days of it, replayed."""

    arriving: jax.Array = leaf(unit="ETH", meaning="[D] what joined the queue since the record before")
    backlog: jax.Array = leaf(unit="ETH", meaning="[D] the replayed queue: the record, unless that falls too fast")
    wait: jax.Array = leaf(unit="days", meaning="[D] of who joins its end on that day")


def replay(*, queue: jax.Array, churn: jax.Array, day: jax.Array, days: int) -> Replay:
    """Replay a daily record of a queue.

    Equations: between records the queue falls by the churn, `arriving_i = max(queue_i - drained_i, 0)`; the wait is
    that of `fifo_finish` under the churn of the days that follow, the last one's ever after.

    Args:
        queue: [D] recorded queue at the start of a day, ETH, >= 0.
        churn: [D] churn limit of that day and until the next record, ETH per epoch, > 0.
        day: [D] integers, the first 0, rising.
        days: number of days, more than the last of `day`; static.

    Returns:
        `Replay`.

    Raises:
        ValueError: a concrete value is outside its range, or arrays differ in shape.

    Example:
        >>> found = replay(queue=jnp.asarray([57600.0, 28800.0]), churn=jnp.asarray([256.0, 256.0]),
        ...                day=jnp.asarray([0, 1]), days=2)
        >>> found.arriving.tolist(), [f"{x:.1f}" for x in found.wait]
        ([57600.0, 28800.0], ['1.0', '0.5'])
    """
    shapes = {jnp.shape(x) for x in (queue, churn, day)}
    if len(shapes) != 1 or jnp.ndim(queue) != 1 or jnp.size(queue) == 0:
        raise ValueError(f"queue, churn and day must be vectors of one length, got shapes {sorted(shapes)}")
    queue = as_float(require_domain("queue", queue, NON_NEGATIVE))
    churn = as_float(require_domain("churn", churn, POSITIVE))
    gaps = jnp.diff(day, prepend=0).astype(queue.dtype)

    def record(state: Any, now: Any) -> Any:
        before, limit = state
        recorded, mine, gap = now
        drained = jnp.maximum(before - limit * EPOCHS_PER_DAY * gap, 0.0)
        backlog = jnp.maximum(recorded, drained)
        return (backlog, mine), (backlog - drained, backlog)

    start = (jnp.zeros((), queue.dtype), churn[0])
    arriving, backlog = jax.lax.scan(record, start, (queue, churn, gaps))[1]
    at = jnp.searchsorted(day, jnp.arange(days), side="right") - 1
    limits = jnp.repeat(churn[at], EPOCHS_PER_DAY, total_repeat_length=days * EPOCHS_PER_DAY)
    arrivals = day * EPOCHS_PER_DAY
    finish = fifo_finish(amounts=arriving, arrivals=arrivals, churn=limits, epochs=days * EPOCHS_PER_DAY)
    wait = (finish - arrivals).astype(queue.dtype) / EPOCHS_PER_DAY
    return Replay(arriving=arriving, backlog=backlog, wait=wait)
