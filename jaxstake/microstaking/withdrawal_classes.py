"""The hard order for a million requests: classes of virtual arrival, exact in Gwei, without a step per epoch.

Requests whose virtual arrivals lie in the same class of equal width are served in the order of arrival, an earlier
class before a later one; in every epoch `served_c = clip(churn - backlog of earlier classes, 0, backlog_c)`.
What classes up to c leave to later ones depends on their joint arrivals only (the workload of a server that is never
idle, Lindley's recursion: cumulative sums and maxima). Before the first request of class c can arrive, everything that
waits is of an earlier class, so that the start is the workload of the whole queue; after the last one can have arrived,
`largest_bonus` epochs past the class, earlier classes and the class itself only drain. Each class therefore needs its
own window of epochs, and a class none of the others' results but their arrivals.

Exact integers need double precision.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every
from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar

CLASSES = 1024


def class_width(*, epochs: int, largest_bonus: int, classes: int = CLASSES) -> int:
    """Width of a class, epochs: classes cover virtual arrivals from `-largest_bonus` to the last epoch.

    Two requests are served in the wrong order only if their virtual arrivals differ by less than it; a request is
    finished no later than one of a virtual arrival later by a width would be under the exact order.

    Example:
        >>> class_width(epochs=82_125, largest_bonus=6_750)
        87
    """
    for name, value, least in (("epochs", epochs, 1), ("largest_bonus", largest_bonus, 0), ("classes", classes, 1)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    return -(-(epochs + largest_bonus) // classes)


def class_of(
    *, arrivals: jax.Array, virtual_arrivals: jax.Array, epochs: int, largest_bonus: int, classes: int = CLASSES
) -> jax.Array:
    """Class of each request, [N] integers; a lower class is served first.

    Equation: `floor((v + largest_bonus) / width)`.
    """
    width = class_width(epochs=epochs, largest_bonus=largest_bonus, classes=classes)
    found = jnp.floor((as_float(virtual_arrivals) + largest_bonus) / width).astype(arrivals.dtype)
    return jnp.clip(found, arrivals // width, (arrivals + largest_bonus) // width)  # what rounding may have crossed


def class_finish(
    *,
    amounts_gwei: jax.Array,
    arrivals: jax.Array,
    virtual_arrivals: jax.Array,
    churn_gwei: Any,
    epochs: int,
    largest_bonus: int,
    classes: int = CLASSES,
) -> jax.Array:
    """Epoch in which the last Gwei of each request is served under the class rule.

    A request may be served in the epoch in which it arrives; churn that is not used is lost, as in the protocol.

    Args:
        amounts_gwei: [N] requests, int64 Gwei, >= 0, in all below 2^62.
        arrivals: [N] epochs, integers that never fall, in [0, epochs).
        virtual_arrivals: [N] in [arrival - largest_bonus, arrival], epochs (`withdrawals.virtual_arrivals`).
        churn_gwei: limit per epoch, Gwei, > 0; a number, or [epochs], whose last holds ever after.
        epochs: number of epochs in which requests arrive; static.
        largest_bonus: no bonus exceeds it, epochs; static. Memory is `8 classes (largest_bonus + width)` bytes.
        classes: number of classes; static.

    Returns:
        [N] int64; -1 throughout where a traced value is outside its range.

    Raises:
        ValueError: a concrete value is outside its range, an array is of another shape, or precision is single.

    Example:
        >>> with jax.enable_x64(True):
        ...     asked = {"amounts_gwei": jnp.asarray([30, 20, 10]), "arrivals": jnp.asarray([0, 0, 1]), "epochs": 4}
        ...     late, early = jnp.asarray([0, 0, 1]), jnp.asarray([0, 0, -2])
        ...     first = class_finish(**asked, virtual_arrivals=late, churn_gwei=10, largest_bonus=3)
        ...     then = class_finish(**asked, virtual_arrivals=early, churn_gwei=10, largest_bonus=3)
        ...     print(first.tolist(), then.tolist())
        [2, 4, 5] [3, 5, 1]
    """
    width = class_width(epochs=epochs, largest_bonus=largest_bonus, classes=classes)
    amounts, arrivals, churn, ok = _checked(amounts_gwei, arrivals, churn_gwei, epochs)
    virtual_arrivals = as_float(virtual_arrivals)
    ok = every(ok, _bonus_ok(arrivals, virtual_arrivals, largest_bonus))
    arrivals = jnp.clip(arrivals, 0, epochs - 1)
    found = class_of(
        arrivals=arrivals,
        virtual_arrivals=virtual_arrivals,
        epochs=epochs,
        largest_bonus=largest_bonus,
        classes=classes,
    )
    lag = arrivals + largest_bonus - found * width  # in the class's window
    length, whole = width + largest_bonus, (classes - 1) * width + width + largest_bonus
    limits = _extended(churn, before=largest_bonus, length=whole)
    total = jnp.zeros(whole, amounts.dtype).at[arrivals + largest_bonus].add(amounts)
    backlog = _workload(limits - total)
    starts = width * jnp.arange(classes)
    waiting = jnp.where(starts > 0, backlog[jnp.maximum(starts - 1, 0)], 0)
    own = jnp.zeros((classes, length), amounts.dtype).at[found, lag].add(amounts)
    served, ahead = _class_service(own, waiting, limits, width)
    return _finish_of_each(amounts, found, own, served, ahead, limits, ok, arrivals, largest_bonus, width)


def fifo_finish(*, amounts: jax.Array, arrivals: jax.Array, churn: Any, epochs: int) -> jax.Array:
    """Epoch in which the last of each request is served first in, first out.

    Equation: with `I` the churn left unused, `first t with churn 0..t - I_t >= w_0 + ... + w_i`. The rule of
    `protocol.queues.exit_epochs` but for its lookahead.

    Args:
        amounts: [N] requests, >= 0: int64 Gwei, exact, or floats.
        arrivals: [N] epochs, integers that never fall, in [0, epochs).
        churn: limit per epoch, the unit of amounts, > 0; a number, or [epochs], whose last holds ever after.
        epochs: number of epochs in which requests arrive; static.

    Returns:
        [N] integers; -1 throughout where a traced value is outside its range.

    Raises:
        ValueError: a concrete value is outside its range, or an array is of another shape.

    Example:
        >>> fifo_finish(amounts=jnp.asarray([3.0, 1.0, 2.0]), arrivals=jnp.asarray([0, 0, 9]), churn=2.0,
        ...             epochs=10).tolist()
        [1, 1, 9]
    """
    amounts, arrivals, limits, ok = _checked(amounts, arrivals, churn, epochs, exact=False)
    arrivals = jnp.clip(arrivals, 0, epochs - 1)
    total = jnp.zeros(epochs, amounts.dtype).at[arrivals].add(amounts)
    unused = jnp.maximum(jax.lax.cummax(jnp.cumsum(limits - total)), 0)
    served = jnp.cumsum(limits) - unused
    place = jnp.cumsum(amounts)
    inside = jnp.searchsorted(served, place).astype(arrivals.dtype)
    after = epochs - 1 + _ceil_divide(place - served[-1], limits[-1]).astype(arrivals.dtype)
    finish = jnp.maximum(jnp.where(inside < epochs, inside, after), arrivals)
    return finish if ok is True else jnp.where(ok, finish, -1)


def backlog_series(*, arriving: jax.Array, churn: Any, start: Scalar = 0.0) -> jax.Array:
    """What waits after each period, whatever the order.

    Equation: `U_t = max(U_(t-1) + A_t - churn_t, 0)`.

    Args:
        arriving: [E] asked for per period, >= 0.
        churn: limit per period, the unit of arriving, > 0; a number or [E].
        start: what waits before, >= 0.

    Returns:
        [E] in the unit of arriving.

    Example:
        >>> backlog_series(arriving=jnp.asarray([5.0, 0.0, 1.0, 0.0]), churn=2.0).tolist()
        [3.0, 1.0, 0.0, 0.0]
    """
    arriving = jnp.asarray(arriving)
    net = jnp.broadcast_to(jnp.asarray(churn, arriving.dtype), arriving.shape) - arriving
    return _workload(net.at[0].add(-jnp.asarray(start, arriving.dtype)))


def _workload(net: jax.Array) -> jax.Array:
    """Lindley's recursion from net capacity per epoch."""
    free = jnp.cumsum(net)
    return jnp.maximum(jax.lax.cummax(free), 0) - free


def _class_service(own: jax.Array, waiting: jax.Array, limits: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
    """Served of each class through each epoch of its window, [K, L], and what waits of earlier ones at its end, [K]."""
    classes, length = own.shape

    def one(earlier: jax.Array, given: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        number, mine, before = given
        limit = jax.lax.dynamic_slice(limits, (number * width,), (length,))
        free = jnp.cumsum(limit - earlier) - before
        left = jnp.maximum(jax.lax.cummax(free), 0)  # to this class and later ones
        served = left - jnp.maximum(jax.lax.cummax(left - jnp.cumsum(mine)), 0)
        both = jnp.concatenate([(earlier + mine)[width:], jnp.zeros(min(width, length), own.dtype)])
        return both, (served, left[-1] - free[-1])

    given = (jnp.arange(classes), own, waiting)
    return jax.lax.scan(one, jnp.zeros(length, own.dtype), given)[1]


def _finish_of_each(
    amounts: jax.Array,
    found: jax.Array,
    own: jax.Array,
    served: jax.Array,
    ahead: jax.Array,
    limits: jax.Array,
    ok: jax.Array | bool,
    arrivals: jax.Array,
    largest_bonus: int,
    width: int,
) -> jax.Array:
    """The first epoch through which a class has served as much as up to the request was asked for in it."""
    length, count = own.shape[1], amounts.size
    key = jnp.sort(found * count + jnp.arange(count))  # by class, then by arrival
    group = key // count
    index = key - group * count
    whole = jnp.sum(own, axis=1)
    place = jnp.cumsum(amounts[index]) - (jnp.cumsum(whole) - whole)[group]
    row, flat = (group * length).astype(jnp.int32), served.reshape(-1)
    low, high = jnp.zeros(count, jnp.int32), jnp.full(count, length, jnp.int32)
    for _ in range(math.ceil(math.log2(length + 1))):
        middle = (low + high) // 2
        less = (low < high) & (flat[row + jnp.minimum(middle, length - 1)] < place)
        low, high = jnp.where(less, middle + 1, low), jnp.where(less, high, middle)
    capacity, end = jnp.cumsum(limits), group * width + length - 1
    beyond = capacity[end] + ahead[group] + place - served[group, -1]

    def drain() -> jax.Array:
        later = jnp.searchsorted(capacity, beyond).astype(key.dtype)
        last = capacity.size - 1 + _ceil_divide(beyond - capacity[-1], limits[-1])
        return jnp.where(later < capacity.size, later, last)

    drained = jax.lax.cond(jnp.any(low == length), drain, lambda: jnp.zeros_like(beyond))
    finish = jnp.where(low < length, low.astype(key.dtype) + group * width, drained) - largest_bonus
    finish = jnp.zeros(count, key.dtype).at[index].set(finish)
    finish = jnp.maximum(finish, arrivals)  # a request of nothing
    return finish if ok is True else jnp.where(ok, finish, -1)


def _ceil_divide(a: jax.Array, b: jax.Array) -> jax.Array:
    return -(-a // b) if jnp.issubdtype(a.dtype, jnp.integer) else jnp.ceil(a / b)


def _extended(churn: jax.Array, *, before: int, length: int) -> jax.Array:
    """Churn of every epoch of all windows; before the first request it does not matter."""
    return jnp.pad(churn, (before, max(0, length - before - churn.size)), mode="edge")[:length]


def _bonus_ok(arrivals: jax.Array, virtual_arrivals: jax.Array, largest_bonus: int) -> jax.Array | bool:
    if jnp.shape(virtual_arrivals) != jnp.shape(arrivals):
        shapes = f"{jnp.shape(arrivals)}, got {jnp.shape(virtual_arrivals)}"
        raise ValueError(f"virtual_arrivals must have the shape of arrivals, {shapes}")
    gained = arrivals.astype(virtual_arrivals.dtype) - virtual_arrivals
    slack = 1e-9 * (1.0 + largest_bonus)
    message = f"arrivals must exceed virtual_arrivals by 0 to largest_bonus, {largest_bonus} epochs, got {{gained}}"
    ok = confirm((gained >= -slack) & (gained <= largest_bonus + slack), message, gained=gained)
    return True if ok is True else jnp.all(ok)


def _checked(
    amounts: jax.Array, arrivals: jax.Array, churn: Any, epochs: int, *, exact: bool = True
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | bool]:
    """Arrays in one dtype, the churn of every epoch, and whether all values are in range."""
    amounts, arrivals, churn = jnp.asarray(amounts), jnp.asarray(arrivals), jnp.asarray(churn)
    if amounts.ndim != 1 or amounts.size == 0 or amounts.shape != arrivals.shape:
        shapes = f"{amounts.shape} and {arrivals.shape}"
        raise ValueError(f"amounts and arrivals must be vectors of one length, at least one request, got {shapes}")
    if exact and amounts.dtype != jnp.int64:
        raise ValueError(f"amounts_gwei must be int64 under jax_enable_x64, got {amounts.dtype}")
    if not jnp.issubdtype(arrivals.dtype, jnp.integer):
        raise ValueError(f"arrivals must be integers, got {arrivals.dtype}")
    if churn.shape not in ((), (epochs,)):
        raise ValueError(f"churn must be a number or [{epochs}], one per epoch, got shape {churn.shape}")
    within = (arrivals >= 0) & (arrivals < epochs)
    conditions = (
        confirm(amounts >= 0, "amounts must be at least 0, got {value}", value=amounts),
        confirm(churn > 0, "churn must be greater than 0, got {value}", value=churn),
        confirm(within, f"arrivals must be in [0, {epochs}), got {{value}}", value=arrivals),
        confirm(arrivals[1:] >= arrivals[:-1], "arrivals must never fall, got {value} later", value=arrivals[1:]),
    )
    ok = every(*(True if each is True else jnp.all(each) for each in conditions))
    limits = jnp.broadcast_to(churn.astype(amounts.dtype), (epochs,))
    return amounts, arrivals.astype(jnp.int64) if exact else arrivals, limits, ok
