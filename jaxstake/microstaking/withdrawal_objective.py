"""Waits that are smooth in the weights of the priority: a loss for fitting them.

Requests are binned by period of arrival and by type (size and score of the owner), and a virtual arrival is smeared by
a logistic error: a request of bonus b counts as `l` periods older with probability `s_l - s_(l+1)`, where
`s_0 = 1, s_l = sigmoid((b - l + 1/2) / smear)`. The weights enter only there, and everything after is smooth: one
matrix product of what arrives with `s` gives the arrivals of each class in its window, Lindley's recursion with a
softened maximum its workload, the chance that it stays busy the expected wait, and the transposed product the wait of
each type. The work is linear in periods, lags and types, whatever the number of requests.

Smearing, periods and softening cost accuracy: the result steers a search, and a policy is judged by the hard order.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import every, in_domains, poison, require, require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.pytree import leaf, pytree, static
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import withdrawal_statistics
from jaxstake.microstaking.withdrawals import Priority, Requests, bonus, largest_bonus, valid

SMEAR, SOFTNESS = 0.5, 0.05


@pytree
class Workload:
    """Requests by period of arrival (T) and type (M)."""

    work: Any = leaf(unit="periods", domain=NON_NEGATIVE, meaning="[T, M] asked for, over the churn of a period")
    count: Any = leaf(domain=NON_NEGATIVE, meaning="[T, M] number of requests")
    owner_total: Any = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="[M] stake of which the type has the smallness")
    score: Any = leaf(domain=NON_NEGATIVE, meaning="[M] mean score of the type")
    period: Any = leaf(unit="epochs", domain=POSITIVE, meaning="length of a period")
    lags: int = static(default=32, meaning="periods in a class's window, more than the largest bonus")


@pytree
class SmoothWaits:
    """Statistics of the smooth waits, periods."""

    mean: Scalar = leaf(meaning="every request alike")
    by_score: Scalar = leaf(meaning="weighted by score")
    p99: Scalar = leaf(meaning="exceeded by one request in a hundred, softly")


def workload(
    requests: Requests,
    *,
    churn: Scalar,
    epochs: int,
    period: int,
    lags: int,
    sizes: int = 16,
    scores: int = 2,
    half_size: float = 32.0,
) -> Workload:
    """Bin requests: equal steps of smallness and of score, each type with the mean of both in it.

    Args:
        requests: the requests, arriving before `epochs`.
        churn: limit per epoch, ETH, > 0.
        epochs: number of epochs; static.
        period: epochs in a period; static.
        lags: periods in a class's window, more than any bonus tried; static.
        sizes: bins of smallness; static.
        scores: bins of score; static.
        half_size: stake of smallness 1/2 in the bins, ETH, > 0.

    Raises:
        ValueError: the requests or the churn are invalid.
    """
    ok = every(valid(requests), in_domains({}))
    churn = require_domain("churn", churn, POSITIVE)
    span = -(-epochs // period)
    small = half_size / (half_size + as_float(requests.owner_total))
    row = jnp.clip(jnp.asarray(requests.arrival).astype(int) // period, 0, span - 1)
    size_bin = jnp.clip(jnp.floor(small * sizes).astype(int), 0, sizes - 1)
    score_bin = jnp.clip(jnp.floor(as_float(requests.score) * scores).astype(int), 0, scores - 1)
    kind, kinds = size_bin * scores + score_bin, sizes * scores

    def binned(values: Any, where: Any, number: int) -> jax.Array:
        return jax.ops.segment_sum(values, where, num_segments=number)

    amount = as_float(requests.amount)
    one = jnp.ones_like(amount)
    cells, number = row * kinds + kind, binned(one, kind, kinds)
    mean_small = safe_divide(binned(small, kind, kinds), number, at_zero=0.5)
    return Workload(
        work=poison(ok, binned(amount, cells, span * kinds).reshape(span, kinds) / (churn * period)),
        count=binned(one, cells, span * kinds).reshape(span, kinds),
        owner_total=half_size * (1.0 / mean_small - 1.0),
        score=jnp.clip(safe_divide(binned(as_float(requests.score), kind, kinds), number), 0.0, 1.0),
        period=float(period),
        lags=lags,
    )


def expected_waits(
    priority: Priority, load: Workload, *, smear: Scalar = SMEAR, softness: Scalar = SOFTNESS
) -> jax.Array:
    """Expected wait of each type by period of arrival, under the smeared order.

    Equations, for class k at lag l: `U_(k,l) = softplus(U_(k,l-1) + a_(k,l) - 1)` from the workload of the whole queue
    before it, `W_(k,l) = busy_(k,l) (1 + W_(k,l+1))` with `busy = 1 - exp(-U / softness)`, and at the last lag the
    time that U takes to drain.

    Args:
        priority: the weights, epochs; their sum at most `lags - 1` periods.
        load: the requests.
        smear: spread of a virtual arrival, periods, > 0.
        softness: of the maximum, in churn of a period, > 0.

    Returns:
        [T, M] periods. NaN where a traced value is outside its range.

    Raises:
        ValueError: a concrete value is outside its range.
    """
    smear = require_domain("smear", smear, POSITIVE)
    softness = as_float(require_domain("softness", softness, POSITIVE))
    most, room = largest_bonus(priority), (load.lags - 1.0) * load.period
    message = "weights must add up to at most {room} epochs, lags less one, got {most}"
    factor = require(most <= room * (1 + 1e-6), message, most=most, room=room)
    lag = jnp.arange(load.lags)
    steps = lag.astype(load.work.dtype)[:, None]
    ahead = jax.vmap(lambda total, score: bonus(priority, owner_total=total, score=score))(load.owner_total, load.score)
    older = jax.nn.sigmoid((as_float(ahead)[None] / load.period - steps + 0.5) / smear).at[0].set(1.0)
    chance = older - jnp.concatenate([older[1:], jnp.zeros_like(older[:1])])
    padded = jnp.pad(load.work, ((load.lags, load.lags), (0, 0)))
    classes = jnp.arange(load.work.shape[0] + load.lags)
    arriving = (padded @ older.T)[classes[None] + lag[:, None], lag[:, None]]

    def soft(x: jax.Array) -> jax.Array:
        return softness * jax.nn.softplus(x / softness)

    def queue(before: jax.Array, work: jax.Array) -> tuple[jax.Array, jax.Array]:
        after = soft(before + work - 1.0)
        return after, after

    zero = jnp.zeros((), padded.dtype)
    whole = jax.lax.scan(queue, zero, jnp.sum(padded, axis=1))[1]
    start = jnp.concatenate([zero[None], whole])[classes]
    last, through = jax.lax.scan(queue, start, arriving)

    def wait(later: jax.Array, work: jax.Array) -> tuple[jax.Array, jax.Array]:
        now = -jnp.expm1(-work / softness) * (1.0 + later)
        return now, now

    before = jax.lax.scan(wait, last, through[:-1], reverse=True)[1]
    each = jnp.concatenate([before, last[None]])  # [lag, class]
    arrival = load.lags + jnp.arange(load.work.shape[0])
    return factor * (each[lag[None], arrival[:, None] - lag[None]] @ chance)


def smooth_statistics(waits: jax.Array, load: Workload, *, width: Scalar = 0.25) -> SmoothWaits:
    """Mean, mean by score and a smooth 99th percentile of the requests' expected waits.

    The percentile q solves `sum n sigmoid((wait - q) / width) = sum n / 100`.

    Args:
        waits: [T, M] periods (`expected_waits`).
        load: the requests.
        width: of the percentile, periods, > 0.

    Raises:
        ValueError: width is concrete and not positive.
    """
    width = as_float(require_domain("width", width, POSITIVE))
    share = load.count / jnp.sum(load.count)

    def excess(level: Any) -> Any:
        return jnp.sum(share * jax.nn.sigmoid((waits - level) / width)) - 0.01

    high = jnp.max(waits) + 6.0 * width
    by_score = share * load.score[None]
    return SmoothWaits(
        mean=jnp.sum(share * waits),
        by_score=safe_divide(jnp.sum(by_score * waits), jnp.sum(by_score)),
        p99=solve_bracketed(excess, low=jnp.min(waits) - 6.0 * width, high=high).value,
    )


def queue_loss(
    priority: Priority,
    load: Workload,
    *,
    fifo: SmoothWaits | None = None,
    tail_weight: Scalar = 0.5,
    score_weight: Scalar = 0.0,
    smear: Scalar = SMEAR,
) -> Scalar:
    """The objective of an order, smooth in its weights: `1 + tail_weight + score_weight` for zero weights.

    Equation: `mean / FIFO + lambda p99 / FIFO + mu (mean by score) / FIFO`, FIFO being the same for zero weights.

    Args:
        priority: the weights, epochs.
        load: the requests.
        fifo: the statistics of zero weights, to save their computation.
        tail_weight: lambda, >= 0.
        score_weight: mu, >= 0.
        smear: spread of a virtual arrival, periods, > 0.

    Raises:
        ValueError: a concrete value is outside its range.
    """
    tail_weight = require_domain("tail_weight", tail_weight, NON_NEGATIVE)
    score_weight = require_domain("score_weight", score_weight, NON_NEGATIVE)
    if fifo is None:
        fifo = smooth_statistics(expected_waits(Priority(), load, smear=smear), load)
    found = smooth_statistics(expected_waits(priority, load, smear=smear), load)
    judged = withdrawal_statistics.order_objective(
        mean=found.mean, p99=found.p99, fifo_mean=fifo.mean, fifo_p99=fifo.p99, tail_weight=tail_weight
    )
    return judged + score_weight * safe_divide(found.by_score, fifo.by_score, at_zero=1.0)
