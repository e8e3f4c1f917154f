"""Synthetic withdrawal requests: lognormal owners, and a surge in which everybody wants out."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import in_domains, poison
from jaxstake.core.domain import FINITE, NON_NEGATIVE, POSITIVE, PROPER_FRACTION
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.withdrawals import Requests


@pytree
class Demand:
    """Who asks for how much, and when. Its numbers are assumptions."""

    log_median: Scalar = leaf(default=1.5, unit="log ETH", domain=FINITE, meaning="mean of log of the request")
    log_sd: Scalar = leaf(default=1.2, domain=POSITIVE, meaning="standard deviation of it")
    kept: Scalar = leaf(default=1.0, domain=NON_NEGATIVE, meaning="mean of what the owner keeps, over its request")
    surge_share: Scalar = leaf(default=0.35, domain=PROPER_FRACTION, meaning="share of the requests in the surge")
    surge_length: Scalar = leaf(default=0.15, domain=PROPER_FRACTION, meaning="share of the time it takes")


def sample(demand: Demand, *, key: jax.Array, count: int, epochs: int) -> Requests:
    """Draw requests: lognormal amounts, owners that keep an exponential multiple, uniform scores and urgencies.

    Arrivals are uniform, and those of the surge uniform within it; it begins anywhere in the first half.

    Args:
        demand: the assumptions.
        key: random key, new style.
        count: number of requests, > 0; static.
        epochs: number of epochs, > 0; static.

    Returns:
        `Requests`, ETH, in the order of arrival.

    Raises:
        ValueError: a concrete assumption is outside its range, or count or epochs is not positive.

    Example:
        >>> few = sample(Demand(), key=jax.random.key(0), count=5, epochs=100)
        >>> few.amount.shape, bool((few.arrival[1:] >= few.arrival[:-1]).all())
        ((5,), True)
    """
    for name, value in (("count", count), ("epochs", epochs)):
        if not value >= 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    ok = in_domains({"demand": demand})
    sizes, keeps, times, begins, ranks, moods = jax.random.split(key, 6)
    amount = jnp.exp(demand.log_median + demand.log_sd * jax.random.normal(sizes, (count,)))
    kept = demand.kept * jax.random.exponential(keeps, (count,))
    begin = 0.5 * jax.random.uniform(begins)
    place, which = jax.random.uniform(times, (2, count))
    place = jnp.where(which < demand.surge_share, begin + demand.surge_length * place, place)
    arrival = jnp.sort(jnp.clip(jnp.floor(place * epochs), 0, epochs - 1))
    return Requests(
        amount=poison(ok, amount),
        arrival=arrival.astype(int),
        owner_total=poison(ok, amount * (1.0 + kept)),
        score=jax.random.uniform(ranks, (count,)),
        urgency=jax.random.uniform(moods, (count,)),
    )


def churn_for(requests: Requests, *, epochs: int, utilisation: Scalar) -> Any:
    """The churn per epoch of which the requests use a share over all epochs, ETH.

    Args:
        requests: the requests.
        epochs: number of epochs.
        utilisation: share of the churn that they would use, > 0; above 1 the queue grows.
    """
    return jnp.sum(as_float(requests.amount)) / (utilisation * epochs)
