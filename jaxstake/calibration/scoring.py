"""Weights of validator scores fitted to a panel, with intervals that hold when a weight has run into its bound."""

from __future__ import annotations

import dataclasses
import functools
import warnings
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.analysis import calibrate
from jaxstake.calibration.scoring_intervals import Intervals, distance, intervals
from jaxstake.calibration.scoring_slopes import Anchor, Slopes, anchor_at, fit_slopes
from jaxstake.core.domain import FINITE, POSITIVE, Domain
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import scoring
from jaxstake.microstaking.scoring import Observations, Scoring
from jaxstake.microstaking.scoring_factors import Factors

LEAST_CLUSTERS = 10
"""Clusters below which a clustered error means nothing."""
INITIAL_STRENGTH = 0.05


@pytree
class Weighing:
    """The parameters that are searched: those of `Scoring` without the intercepts."""

    logits: jax.Array = leaf(domain=FINITE, meaning="[2] log of the weights of T and R over that of P")
    strength: Scalar = leaf(domain=POSITIVE, meaning="k: log odds of a duty per unit of score")
    overdispersion: Scalar = leaf(
        domain=Domain(0.0, 1.0, open_low=True, open_high=True), meaning="rho: correlation of the duties of one row"
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rows:
    """The usable rows of a panel, N of them.

    Attributes:
        data: what the model reads; its intervals are renumbered without gaps.
        validator: [N] number of the validator.
        time: [N] position of the interval in the panel.
        good: [N] whether the rate was not bad.
        intervals: number of intervals that have rows.
    """

    data: Observations
    validator: np.ndarray
    time: np.ndarray
    good: np.ndarray
    intervals: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoringFit:
    """Fitted weights, and what is known about them.

    Attributes:
        fit: of the model on the simplex, `jaxstake.analysis.calibrate.fit`.
        slopes: signed, without the simplex, with their clustered covariance.
        weights: [3] alpha, beta and gamma.
        intervals: of the weights, k and rho.
        converged: whether both searches met their tolerance and every result is a number.
        rows: rows that were fitted.
        clusters: clusters they belong to.
    """

    fit: calibrate.Fit
    slopes: Slopes
    weights: np.ndarray
    intervals: Intervals
    converged: bool
    rows: int
    clusters: int

    @property
    def strength(self) -> float:
        """k, log odds of a duty per unit of score."""
        return float(self.fit.parameters.strength)

    @property
    def overdispersion(self) -> float:
        """rho, correlation of the duties of one row."""
        return float(self.fit.parameters.overdispersion)


def rows_of(factors: Factors, attested: np.ndarray, assigned: np.ndarray) -> Rows:
    """The usable rows of a panel as vectors.

    Args:
        factors: of `past_factors` or `sibling_factors`.
        attested: [V, T] duties performed.
        assigned: [V, T] duties.

    Raises:
        ValueError: no row is usable.
    """
    usable = np.asarray(factors.usable)
    validator, time = np.nonzero(usable)
    if validator.size == 0:
        raise ValueError("no row has enough past intervals or siblings outside incidents to compute its factors")
    kept, interval = np.unique(time, return_inverse=True)
    data = Observations(
        factors=jnp.asarray(factors.values)[validator, time],
        interval=jnp.asarray(interval),
        attested=jnp.asarray(attested[validator, time], float),
        assigned=jnp.asarray(assigned[validator, time], float),
    )
    good = ~np.asarray(factors.bad)[validator, time]
    return Rows(data=data, validator=validator, time=time, good=good, intervals=kept.size)


def fit_scoring(
    rows: Rows,
    cluster: np.ndarray,
    *,
    key: jax.Array,
    train: np.ndarray | None = None,
    restarts: int = 2,
    steps: int = 200,
    level: float = 0.95,
) -> ScoringFit:
    """Fit the weights, the strength, the overdispersion and an intercept per interval.

    The signed slopes are found first, by Newton's method; the fit on the simplex starts from them. Rows left out keep
    their place without duties, so that every selection of one panel runs the same compiled code.

    Args:
        rows: of the panel.
        cluster: [N] number of each row's cluster (operator or validator), within which errors may be dependent.
        key: random key of the restarts.
        train: [N] rows to fit; default all.
        restarts: of the fit on the simplex.
        steps: most steps of each.
        level: of the intervals: 0.9, 0.95 or 0.99.

    Returns:
        `ScoringFit`. A weight whose interval reaches 0 or 1, or a strength whose interval reaches 0, is not identified.

    Raises:
        ValueError: fewer than ten clusters have rows to fit.
    """
    chosen, data = _chosen(rows, train)
    slopes = fit_slopes_of_rows(rows, cluster, train=train)
    fitted = _fit(data, _begin(slopes), slopes.intercepts, key=key, restarts=restarts, steps=steps)
    weights = np.asarray(scoring.weights(fitted.parameters.logits))
    found = _intervals(slopes, float(fitted.parameters.strength) * weights, level)
    numbers = [weights, fitted.parameters.strength, fitted.parameters.overdispersion, found.weights]
    finite = all(bool(np.all(np.isfinite(x))) for x in numbers)
    return ScoringFit(
        fit=fitted,
        slopes=slopes,
        weights=weights,
        intervals=found,
        converged=bool(fitted.converged) and bool(slopes.converged) and finite,
        rows=int(chosen.sum()),
        clusters=np.unique(cluster[chosen]).size,
    )


def fit_slopes_of_rows(rows: Rows, cluster: np.ndarray, *, train: np.ndarray | None = None) -> Slopes:
    """Signed slopes with their clustered covariance; arguments and errors as for `fit_scoring`."""
    chosen, data = _chosen(rows, train)
    used = np.unique(cluster[chosen]).size
    if used < LEAST_CLUSTERS:
        raise ValueError(f"errors are clustered and need {LEAST_CLUSTERS} validators or operators, got {used}")
    code = np.unique(cluster, return_inverse=True)[1]
    tolerance = 1e-8 if data.attested.dtype == jnp.float64 else 1e-5
    return _slopes_of(rows.intervals, int(code.max()) + 1, tolerance)(data, jnp.asarray(code))


def nearest_weights(slopes: Slopes) -> np.ndarray:
    """[3] weights nearest to signed slopes: those of the fit on the simplex, but for the cubic terms of its loss.

    Equal weights where no slope is positive.
    """
    b = np.asarray(slopes.slopes, float)
    if not np.all(np.isfinite(b)) or not np.any(b > 0):
        return np.full(3, 1.0 / 3.0)
    return scoring_start(b, np.asarray(slopes.information, float)[:3, :3])


def _chosen(rows: Rows, train: np.ndarray | None) -> tuple[np.ndarray, Observations]:
    """Which rows are fitted, and all rows with the duties of the others taken away."""
    chosen = np.ones(rows.validator.shape, bool) if train is None else np.asarray(train, bool)
    keep = jnp.asarray(chosen).astype(rows.data.attested.dtype)
    taken = {"attested": rows.data.attested * keep, "assigned": rows.data.assigned * keep}
    return chosen, dataclasses.replace(rows.data, **taken)


@functools.cache
def _slopes_of(number: int, clusters: int, tolerance: float) -> Callable[..., Slopes]:
    return jax.jit(functools.partial(fit_slopes, intervals=number, clusters=clusters, tolerance=tolerance))


def anchored_loss(at: Weighing, data: Observations, anchor: Anchor) -> jax.Array:
    """`scoring.negative_log_likelihood` with intercepts that follow the four parameters from an anchor.

    Equation: `c = c_0 + R (p - p_0)`. At the anchor, value, gradient and Hessian are those of the likelihood profiled
    over the intercepts.

    Args:
        at: the parameters.
        data: the rows.
        anchor: `jaxstake.calibration.scoring_slopes.anchor_at` a point close by.
    """
    moved = _core(at) - anchor.core
    intercepts = anchor.intercepts + moved @ anchor.response
    whole = Scoring(logits=at.logits, strength=at.strength, overdispersion=at.overdispersion, intercepts=intercepts)
    return scoring.negative_log_likelihood(whole, data)


def _core(at: Weighing) -> jax.Array:
    """Slopes and log odds of rho."""
    rho = jnp.asarray(at.overdispersion)
    return jnp.concatenate([at.strength * scoring.weights(at.logits), (jnp.log(rho) - jnp.log1p(-rho))[None]])


@functools.cache
def _anchoring() -> Callable[..., Anchor]:
    return jax.jit(lambda at, data, begin: anchor_at(_core(at), data, begin))


def _fit(
    data: Observations, begin: Weighing, intercepts: jax.Array, *, key: jax.Array, restarts: int, steps: int
) -> calibrate.Fit:
    """The fit on the simplex, twice: the second time with the intercepts anchored where the first one ended."""
    settings = {"restarts": restarts, "steps": steps, "spread": 0.2, "observations": float(data.attested.shape[0])}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", calibrate.ConvergenceWarning)
        anchor = _anchoring()(begin, data, intercepts)
        first = calibrate.fit(anchored_loss, begin, data, anchor, key=key, **settings)
        anchor = _anchoring()(first.parameters, data, anchor.intercepts)
        return calibrate.fit(anchored_loss, _inside(first.parameters), data, anchor, key=key, **settings)


def _inside(at: Weighing) -> Weighing:
    """The same point, moved off a bound that rounding has reached."""
    return Weighing(
        logits=jnp.clip(at.logits, -20.0, 20.0),
        strength=jnp.maximum(at.strength, 1e-6),
        overdispersion=jnp.clip(at.overdispersion, 1e-6, 1.0 - 1e-6),
    )


def _begin(slopes: Slopes) -> Weighing:
    """The nearest point strictly inside the simplex."""
    b = np.asarray(slopes.slopes, float)
    total = float(np.sum(np.maximum(b, 0.0)))
    total = total if np.isfinite(total) else 0.0
    w = np.maximum(nearest_weights(slopes), 0.02)
    return Weighing(
        logits=jnp.asarray(np.log(w[1:] / w[0])),
        strength=jnp.asarray(max(total, INITIAL_STRENGTH), float),
        overdispersion=jnp.clip(jax.nn.sigmoid(slopes.logit_overdispersion), 1e-4, 0.99),
    )


def scoring_start(slopes: np.ndarray, information: np.ndarray, *, cells: int = 50) -> np.ndarray:
    """[3] weights of the nearest slopes `k w`, none negative: the slopes' own if none is.

    Example:
        >>> scoring_start(np.array([2.0, 1.0, 1.0]), np.eye(3)).tolist()
        [0.5, 0.25, 0.25]
    """
    if np.all(slopes >= 0):
        return slopes / np.sum(slopes)
    share = np.linspace(0.0, 1.0, cells + 1)
    first, part = np.meshgrid(share, share)
    w = np.stack([first, (1.0 - first) * part, (1.0 - first) * (1.0 - part)], axis=-1).reshape(-1, 3)
    return w[int(np.argmin(distance(slopes, information, w)))]


def _intervals(slopes: Slopes, estimate: np.ndarray, level: float) -> Intervals:
    """Intervals; everything is possible where the search ended without a number."""
    b, whole = np.asarray(slopes.slopes, float), np.asarray(slopes.information, float)
    variance = float(slopes.covariance[3, 3])
    usable = np.all(np.isfinite(b)) and np.all(np.isfinite(whole)) and np.isfinite(variance)
    own, mixed, last = whole[:3, :3], whole[:3, 3], whole[3, 3]
    marginal = own - np.outer(mixed, mixed) / last if last > 0 else own
    return intervals(
        b if usable else np.zeros(3),
        0.5 * (marginal + marginal.T) if usable else np.zeros((3, 3)),
        logit_overdispersion=float(slopes.logit_overdispersion) if usable else 0.0,
        logit_variance=variance if usable and not bool(slopes.flat[3]) else 1e4,
        estimate=estimate if usable and np.all(np.isfinite(estimate)) else None,
        level=level,
    )
