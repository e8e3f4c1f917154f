"""Fit the weights of the withdrawal queue's priority, and judge them by the hard order on requests not fitted to.

The weights are a share of the largest bonus that the bound on the wait allows, divided between smallness and score, so
that no policy tried breaks the bound (`withdrawal_statistics.largest_wait_bound`). Urgency stays out: its owner states
it. The loss is smooth (`withdrawal_objective.queue_loss`), the judgement is not.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.analysis.calibrate import Fit, fit
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.core.units import GWEI_PER_ETH
from jaxstake.microstaking import withdrawal_classes, withdrawal_objective, withdrawal_statistics, withdrawals
from jaxstake.microstaking.withdrawal_objective import SmoothWaits, Workload
from jaxstake.microstaking.withdrawal_statistics import WaitStatistics
from jaxstake.microstaking.withdrawals import Priority, Requests

_WITHIN = Domain(0.0, 1.0, open_low=True, open_high=True)
PERIOD = 225
"""Epochs in a period of the loss: a day."""


@pytree
class Shares:
    """What is fitted: two shares strictly between 0 and 1."""

    bonus: Scalar = leaf(default=0.5, domain=_WITHIN, meaning="sum of the weights over the largest allowed")
    smallness: Scalar = leaf(default=0.5, domain=_WITHIN, meaning="of it to smallness, the rest to score")


@pytree
class Judgement:
    """A policy beside first in, first out on the same requests, under the hard order; waits in epochs."""

    waits: WaitStatistics = leaf(meaning="under the policy")
    fifo: WaitStatistics = leaf(meaning="first in, first out")
    objective: Scalar = leaf(meaning="mean / FIFO + tail weight p99 / FIFO")
    fifo_objective: Scalar = leaf(meaning="the same of FIFO: 1 + tail weight, if anyone waits")
    bound: Scalar = leaf(unit="epochs", meaning="wait that no request can exceed")


@pytree
class QueueFit:
    """The fitted policy."""

    priority: Priority = leaf(meaning="the weights, epochs")
    fit: Fit = leaf(meaning="of `Shares`: convergence, restarts, flat directions")
    largest_bonus: Scalar = leaf(unit="epochs", meaning="most that the weights may add up to")


def priority_of(shares: Shares, *, largest_bonus: Scalar, half_size: Scalar = 32.0) -> Priority:
    """The weights, epochs, of the shares that are fitted."""
    whole = shares.bonus * as_float(largest_bonus)
    return Priority(
        smallness=whole * shares.smallness, score=whole * (1.0 - as_float(shares.smallness)), half_size=half_size
    )


def allowed_bonus(*, max_wait: float, fifo_largest: float) -> float:
    """Most epochs of bonus with which no request waits longer than `max_wait`: the rest over the largest FIFO wait.

    Raises:
        ValueError: first in, first out already exceeds max_wait.
    """
    if not max_wait > fifo_largest:
        raise ValueError(
            f"max_wait must exceed the largest wait first in, first out, {fifo_largest:g} epochs, got {max_wait:g}"
        )
    return float(max_wait - fifo_largest)


def lags_for(largest_bonus: float) -> int:
    """Periods in a class's window for a largest bonus in epochs."""
    return math.ceil(largest_bonus / PERIOD) + 2


def fit_priority(
    load: Workload,
    *,
    largest_bonus: float,
    key: jax.Array,
    tail_weight: float = 0.5,
    score_weight: float = 0.0,
    half_size: float = 32.0,
    restarts: int = 4,
    steps: int = 200,
) -> QueueFit:
    """Fit the weights to a workload.

    Minimises `withdrawal_objective.queue_loss` over `Shares`. A smaller share at its bound means that the bound, and
    not the loss, decides: `Fit.at_bound` says so.

    Args:
        load: the requests (`withdrawal_objective.workload`), whose lags must hold the largest bonus.
        largest_bonus: most that the weights may add up to, epochs, > 0.
        key: random key of the restarts, new style.
        tail_weight: weight of the 99th percentile, >= 0.
        score_weight: weight of the mean wait by score, >= 0; at 0 the loss hardly depends on the score's share.
        half_size: owner's stake of smallness 1/2, ETH, > 0.
        restarts: restarts of the search.
        steps: most steps of one.

    Returns:
        `QueueFit`.

    Raises:
        ValueError: a value is outside its range, there are no requests, or the lags are too few.
    """
    for name, value, domain in (
        ("largest_bonus", largest_bonus, POSITIVE),
        ("tail_weight", tail_weight, NON_NEGATIVE),
        ("score_weight", score_weight, NON_NEGATIVE),
        ("half_size", half_size, POSITIVE),
    ):
        if not domain.contains(value):
            raise ValueError(f"{name} must be {domain.rule}, got {value}")
    if not float(jnp.sum(load.count)) > 0:
        raise ValueError("load must hold at least one request, got none")
    if largest_bonus > (load.lags - 1) * float(load.period):
        raise ValueError(f"largest_bonus must be less than the lags of the load, {load.lags}, got {largest_bonus}")
    settings = {"largest_bonus": largest_bonus, "tail": tail_weight, "by_score": score_weight, "half_size": half_size}
    given = {name: jnp.asarray(float(value)) for name, value in settings.items()}
    found = fit(_loss, Shares(), load, _fifo(load), given, key=key, restarts=restarts, steps=steps)
    priority = priority_of(found.parameters, largest_bonus=largest_bonus, half_size=half_size)
    return QueueFit(priority=priority, fit=found, largest_bonus=largest_bonus)


def judge(
    priority: Priority, requests: Requests, *, churn: float, epochs: int, largest_bonus: float, tail_weight: float = 0.5
) -> Judgement:
    """A policy against first in, first out, both exact in Gwei under the class rule. Needs double precision.

    Args:
        priority: the weights, epochs; their sum at most `largest_bonus`.
        requests: the requests, arriving before `epochs`; their scores and urgencies weigh the statistics.
        churn: limit per epoch, ETH, at least a Gwei.
        epochs: number of epochs.
        largest_bonus: bonus that fixes the classes' windows, epochs, >= 0.
        tail_weight: weight of the 99th percentile, >= 0.

    Raises:
        ValueError: a value is outside its range, or precision is single.
    """
    window = math.ceil(largest_bonus)
    fifo = fifo_waits(requests, churn=churn, epochs=epochs)
    waits = priority_waits(priority, requests, churn=churn, epochs=epochs, largest_bonus=window)
    ordinary, found = statistics_of(fifo, requests), statistics_of(waits, requests)
    older = jnp.asarray(requests.arrival).astype(float) - withdrawals.virtual_arrivals(priority, requests)
    both = {"fifo_mean": ordinary.mean, "fifo_p99": ordinary.p99, "tail_weight": tail_weight}
    return Judgement(
        waits=found,
        fifo=ordinary,
        objective=withdrawal_statistics.order_objective(mean=found.mean, p99=found.p99, **both),
        fifo_objective=withdrawal_statistics.order_objective(mean=ordinary.mean, p99=ordinary.p99, **both),
        bound=withdrawal_statistics.largest_wait_bound(
            fifo_largest=ordinary.largest,
            bonus_spread=jnp.max(older) - jnp.min(older),
            class_width=float(withdrawal_classes.class_width(epochs=epochs, largest_bonus=window)),
        ),
    )


def priority_waits(
    priority: Priority, requests: Requests, *, churn: float, epochs: int, largest_bonus: int
) -> jax.Array:
    """Wait of each request under the class rule, [N] epochs. Arguments as of `judge`."""
    finish = _class_finish(
        amounts_gwei=_gwei(requests.amount),
        arrivals=jnp.asarray(requests.arrival),
        virtual_arrivals=withdrawals.virtual_arrivals(priority, requests),
        churn_gwei=_gwei(churn),
        epochs=epochs,
        largest_bonus=largest_bonus,
    )
    return (finish - jnp.asarray(requests.arrival)).astype(float)


def fifo_waits(requests: Requests, *, churn: float, epochs: int) -> jax.Array:
    """Wait of each request first in, first out, [N] epochs. Arguments as of `judge`."""
    arrivals = jnp.asarray(requests.arrival)
    finish = _fifo_finish(amounts=_gwei(requests.amount), arrivals=arrivals, churn=_gwei(churn), epochs=epochs)
    return (finish - arrivals).astype(float)


def statistics_of(waits: jax.Array, requests: Requests) -> WaitStatistics:
    """Statistics of waits with the weights of the requests."""
    return withdrawal_statistics.wait_statistics(
        waits=waits, amounts=requests.amount, scores=requests.score, urgencies=requests.urgency
    )


_class_finish = jax.jit(withdrawal_classes.class_finish, static_argnames=("epochs", "largest_bonus", "classes"))
_fifo_finish = jax.jit(withdrawal_classes.fifo_finish, static_argnames=("epochs",))


@jax.jit
def _fifo(load: Workload) -> SmoothWaits:
    return withdrawal_objective.smooth_statistics(withdrawal_objective.expected_waits(Priority(), load), load)


def _loss(shares: Shares, load: Workload, fifo: SmoothWaits, given: dict[str, jax.Array]) -> Any:
    priority = priority_of(shares, largest_bonus=given["largest_bonus"], half_size=given["half_size"])
    return withdrawal_objective.queue_loss(
        priority, load, fifo=fifo, tail_weight=given["tail"], score_weight=given["by_score"]
    )


def _gwei(ether: Any) -> jax.Array:
    """Whole Gwei of an amount in ETH."""
    if jnp.result_type(float) != jnp.float64:
        raise ValueError("exact amounts in Gwei need jax_enable_x64")
    return jnp.round(jnp.asarray(ether, float) * GWEI_PER_ETH).astype(jnp.int64)
