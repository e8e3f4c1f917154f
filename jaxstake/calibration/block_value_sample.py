"""Payments made ready for a fit: positive ones kept, zeros and unknown ones counted."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.economy.block_value import Censoring

LEAST = 10
"""Exact positive payments without which nothing is fitted."""


@pytree
class Counts:
    """What a set of payments consists of, each counted by its weight."""

    paid: Scalar = leaf(meaning="payments used: positive, or censored")
    censored: Scalar = leaf(meaning="of them known by a bound only")
    zero: Scalar = leaf(meaning="payments of nothing")
    missing: Scalar = leaf(meaning="unknown payments")

    @property
    def total(self) -> Scalar:
        """Weight of the payments used."""
        return self.paid


@dataclasses.dataclass(frozen=True, kw_only=True)
class Payments:
    """Positive payments in memory of the host, with the counts of the rest.

    Attributes:
        payment_eth: [N] positive payments or bounds, ETH.
        weights: [N], or None if all are 1.
        censoring: [N] integers of `Censoring`, or None if all are exact.
        total: weight of the payments.
        zero: weight of the payments of nothing.
        missing: weight of the unknown payments.
    """

    payment_eth: np.ndarray
    weights: np.ndarray | None
    censoring: np.ndarray | None
    total: float
    zero: float
    missing: float

    def exact(self) -> np.ndarray:
        """Payments that are no bounds."""
        return self.payment_eth if self.censoring is None else self.payment_eth[self.censoring == Censoring.EXACT]

    def moments(self) -> tuple[float, float, float]:
        """Weighted mean, standard deviation and skewness of the logarithm."""
        logs = np.log(self.payment_eth)
        mean = float(np.average(logs, weights=self.weights))
        spread = float(np.sqrt(np.average((logs - mean) ** 2, weights=self.weights)))
        lean = float(np.average((logs - mean) ** 3, weights=self.weights))
        return mean, spread, lean / spread**3 if spread > 0 else 0.0

    def arrays(self) -> tuple[Any, Any, Any]:
        """Payments, weights and censoring as the losses take them."""
        place = lambda values: None if values is None else jnp.asarray(values, float)  # noqa: E731
        kinds = None if self.censoring is None else jnp.asarray(self.censoring)
        return place(self.payment_eth), place(self.weights), kinds

    def counts(self) -> Counts:
        """The counts alone."""
        censored = 0.0
        if self.censoring is not None:
            bounds = self.censoring != Censoring.EXACT
            censored = float(bounds.sum() if self.weights is None else self.weights[bounds].sum())
        return Counts(paid=self.total, censored=censored, zero=self.zero, missing=self.missing)

    def subsample(self, size: int, *, key: jax.Array) -> Payments:
        """So many of the payments, drawn with replacement; all if there are not more."""
        if self.payment_eth.size <= size:
            return self
        place = np.asarray(jax.random.randint(key, (size,), 0, self.payment_eth.size))
        weights = None if self.weights is None else self.weights[place]
        return dataclasses.replace(
            self,
            payment_eth=self.payment_eth[place],
            weights=weights,
            censoring=None if self.censoring is None else self.censoring[place],
            total=float(size) if weights is None else float(weights.sum()),
        )


def prepare(payments_eth: Any, *, weights: Any, censoring: Any) -> Payments:
    """Check payments and take them apart; arguments as `block_value.fit_family`.

    Raises:
        ValueError: an argument has a wrong shape or range, or too few payments are positive and exact.
    """
    payments = np.asarray(payments_eth, float)
    if payments.ndim != 1:
        raise ValueError(f"payments_eth must be a vector [B], got shape {payments.shape}")
    bad = (payments < 0) | np.isinf(payments)
    if bad.any():
        raise ValueError(f"payments_eth must be at least 0 and finite, or NaN, got {payments[bad][0]}")
    counted = np.ones_like(payments) if weights is None else _weights(weights, payments.shape)
    kinds = None if censoring is None else _censoring(censoring, payments)
    missing = np.isnan(payments)
    used = (payments > 0) & (counted > 0)
    chosen = None if kinds is None or not np.any(kinds[used]) else kinds[used].astype(np.int32)
    exact = int(used.sum()) if chosen is None else int(np.sum(chosen == Censoring.EXACT))
    if exact < LEAST:
        raise ValueError(f"payments_eth must hold at least {LEAST} exact payments above 0, got {exact}")
    return Payments(
        payment_eth=payments[used],
        weights=None if weights is None else counted[used],
        censoring=chosen,
        total=float(counted[used].sum()),
        zero=float(counted[payments == 0].sum()),
        missing=float(counted[missing].sum()),
    )


def _weights(weights: Any, shape: tuple[int, ...]) -> np.ndarray:
    values = np.asarray(weights, float)
    if values.shape != shape:
        raise ValueError(f"weights must have the shape of payments_eth, {shape}, got {values.shape}")
    bad = ~((values >= 0) & np.isfinite(values))
    if bad.any():
        raise ValueError(f"weights must be at least 0 and finite, got {values[bad][0]}")
    return values


def _censoring(censoring: Any, payments: np.ndarray) -> np.ndarray:
    values = np.asarray(censoring)
    if values.shape != payments.shape:
        raise ValueError(f"censoring must have the shape of payments_eth, {payments.shape}, got {values.shape}")
    known = [int(kind) for kind in Censoring]
    bad = ~np.isin(values, known)
    if bad.any():
        raise ValueError(f"censoring must be one of {known}, got {values[bad][0]}")
    bounds = (values != Censoring.EXACT) & ~(payments > 0)
    if bounds.any():
        raise ValueError(f"a bound must be above 0, got {payments[bounds][0]}")
    return values
