"""What an order of service does to whom: means of the waits by several weights, their tail, and their fairness."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import NON_NEGATIVE
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.order_statistics import percentiles
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class WaitStatistics:
    """Waits of N requests, in the unit of the waits."""

    mean: Scalar = leaf(meaning="every request alike")
    by_amount: Scalar = leaf(meaning="weighted by ether")
    by_score: Scalar = leaf(meaning="weighted by score")
    by_urgency: Scalar = leaf(meaning="weighted by urgency")
    p99: Scalar = leaf(meaning="exceeded by one request in a hundred")
    largest: Scalar = leaf(meaning="of all")
    jain: Scalar = leaf(meaning="Jain's index of fairness, from 1/N to 1; 1 if nobody waits")


def wait_statistics(*, waits: jax.Array, amounts: jax.Array, scores: jax.Array, urgencies: jax.Array) -> WaitStatistics:
    """Statistics of waits.

    Equations: means `sum(x_i wait_i) / sum(x_i)`, 0 where the weights are; Jain's index
    `(sum wait)^2 / (N sum wait^2)`.

    A request waits until its last Gwei. The mean wait of a Gwei, `sum(Ledger.waited) / sum(amounts)`, is the same for
    every order, because the churn is used in every epoch in which anything waits; `by_amount` differs from that by
    what a request waits between its first Gwei and its last.

    Args:
        waits: [N] waits, >= 0, any unit.
        amounts: [N] >= 0.
        scores: [N] >= 0.
        urgencies: [N] >= 0.

    Raises:
        ValueError: a concrete value is negative, there are no requests, or arrays differ in shape.

    Example:
        >>> one = jnp.ones(2)
        >>> found = wait_statistics(waits=jnp.asarray([1.0, 3.0]), amounts=jnp.asarray([3.0, 1.0]), scores=one,
        ...                         urgencies=one)
        >>> print(f"{found.mean:.1f} {found.by_amount:.1f} {found.largest:.1f} {found.jain:.1f}")
        2.0 1.5 3.0 0.8
    """
    named: dict[str, Any] = {"waits": waits, "amounts": amounts, "scores": scores, "urgencies": urgencies}
    shapes = [jnp.shape(value) for value in named.values()]
    if len(set(shapes)) != 1 or len(shapes[0]) != 1 or shapes[0][0] == 0:
        raise ValueError(f"{', '.join(named)} must be vectors of one length, at least one request, got {shapes}")
    waits, *weights = (as_float(require_domain(name, value, NON_NEGATIVE)) for name, value in named.items())
    means = [safe_divide(jnp.sum(weight * waits), jnp.sum(weight)) for weight in weights]
    squares = jnp.sum(waits * waits)
    return WaitStatistics(
        mean=jnp.mean(waits),
        by_amount=means[0],
        by_score=means[1],
        by_urgency=means[2],
        p99=percentiles(waits, levels=(99.0,))[0],
        largest=jnp.max(waits),
        jain=safe_divide(jnp.sum(waits) ** 2, waits.size * squares, at_zero=1.0),
    )


def largest_wait_bound(*, fifo_largest: Scalar, bonus_spread: Scalar, class_width: Scalar = 0.0) -> Scalar:
    """A wait that no request exceeds under priority, epochs: nobody starves.

    Equation: `largest FIFO wait + (largest bonus - smallest bonus) + class width`. Who is served before request i has
    arrived by `t_i + spread`, so that i is finished when the work that has arrived by then would be under FIFO.

    Args:
        fifo_largest: largest wait of the same requests served first in, first out, epochs, >= 0.
        bonus_spread: largest difference of two bonuses, epochs, >= 0; at most `withdrawals.largest_bonus`.
        class_width: width of the classes (`withdrawal_classes.class_width`), 0 for the exact order.

    Raises:
        ValueError: a concrete value is negative.

    Example:
        >>> float(largest_wait_bound(fifo_largest=900.0, bonus_spread=450.0))
        1350.0
    """
    fifo_largest = as_float(require_domain("fifo_largest", fifo_largest, NON_NEGATIVE))
    bonus_spread = require_domain("bonus_spread", bonus_spread, NON_NEGATIVE)
    return fifo_largest + bonus_spread + require_domain("class_width", class_width, NON_NEGATIVE)


def order_objective(
    *, mean: Scalar, p99: Scalar, fifo_mean: Scalar, fifo_p99: Scalar, tail_weight: Scalar = 0.5
) -> Scalar:
    """What an order is judged by: 1 plus the tail weight for first in, first out, less for a better one.

    Equation: `mean / mean_FIFO + lambda p99 / p99_FIFO`. A ratio is 1 where nobody waits under FIFO.

    Args:
        mean: mean wait per request, >= 0.
        p99: 99th percentile of the waits, the same unit, >= 0.
        fifo_mean: mean of the same requests first in, first out, >= 0.
        fifo_p99: 99th percentile of those, >= 0.
        tail_weight: weight of the tail lambda, >= 0.

    Raises:
        ValueError: a concrete value is negative.

    Example:
        >>> print(f"{order_objective(mean=3.0, p99=12.0, fifo_mean=4.0, fifo_p99=10.0):.2f}")
        1.35
    """
    mean, p99 = require_domain("mean", mean, NON_NEGATIVE), require_domain("p99", p99, NON_NEGATIVE)
    fifo_mean = require_domain("fifo_mean", fifo_mean, NON_NEGATIVE)
    fifo_p99 = require_domain("fifo_p99", fifo_p99, NON_NEGATIVE)
    tail_weight = require_domain("tail_weight", tail_weight, NON_NEGATIVE)
    return safe_divide(mean, fifo_mean, at_zero=1.0) + tail_weight * safe_divide(p99, fifo_p99, at_zero=1.0)
