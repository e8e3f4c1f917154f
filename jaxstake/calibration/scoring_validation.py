"""Do fitted weights rank better than a single factor or equal weights where they were not fitted?"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.calibration.scoring import Rows, fit_slopes_of_rows, nearest_weights
from jaxstake.microstaking import ranking
from jaxstake.microstaking.scoring import FACTORS

if TYPE_CHECKING:
    from jaxstake.microstaking.scoring_factors import Factors

DRAWS = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranked:
    """How one score ranks rows that were not fitted, within intervals.

    Attributes:
        name: "fit", a factor or "equal".
        weights: [3] of the score; NaN for the fit where folds have weights of their own.
        auc: chance that a good row has a higher score than a bad one; NaN without a bad row.
        auc_low: lower end of its 95 % interval, by a bootstrap over clusters; NaN as `auc`.
        auc_high: upper end.
        concordance: chance that, of two rows with different rates, the better has the higher score.
        pairs: pairs of a good and a bad row.
        bad: bad rows; where they are few the AUC says little, and its interval too little.
    """

    name: str
    weights: np.ndarray
    auc: float
    auc_low: float
    auc_high: float
    concordance: float
    pairs: int
    bad: int


def later_intervals(rows: Rows, cluster: np.ndarray, *, key: jax.Array, share: float = 0.6) -> list[Ranked]:
    """Fit to the first intervals, rank within the later ones.

    Args:
        rows: of a panel with two intervals or more.
        cluster: [N] number of each row's cluster.
        key: random key of the bootstrap.
        share: of the intervals that are fitted to, in (0, 1).

    Returns:
        `Ranked` for the fit, every factor and equal weights.

    Raises:
        ValueError: a side is empty, or too few clusters are left to fit.
    """
    last = int(np.floor(share * rows.intervals))
    train = np.asarray(rows.data.interval) < last
    if not 0 < last < rows.intervals:
        raise ValueError(f"share must leave intervals on both sides of {rows.intervals}, got {share}")
    weights = nearest_weights(fit_slopes_of_rows(rows, cluster, train=train))
    return _compare(rows, cluster, ~train, np.tile(weights, (train.size, 1)), key)


def held_out(rows: Rows, cluster: np.ndarray, *, key: jax.Array, folds: int = 5) -> list[Ranked]:
    """Fit without a fold of the clusters, rank those in it; every row is ranked once, by weights that never saw it.

    Args:
        rows: of the panel.
        cluster: [N] number of each row's cluster.
        key: random key of the folds and of the bootstrap.
        folds: how many, > 1.

    Returns:
        `Ranked` for the fit, every factor and equal weights.

    Raises:
        ValueError: too few clusters are left to fit.
    """
    split, draws = jax.random.split(key)
    code = np.unique(cluster, return_inverse=True)[1]
    fold = np.asarray(jax.random.permutation(split, int(code.max()) + 1))[code] % folds
    weights = np.empty((code.size, 3))
    for part in range(folds):
        weights[fold == part] = nearest_weights(fit_slopes_of_rows(rows, cluster, train=fold != part))
    return _compare(rows, cluster, np.ones(code.size, bool), weights, draws)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Persistence:
    """Rank correlation of the validators' mean relative rates in the first and the second half of a panel.

    Attributes:
        correlation: Spearman's, NaN where fewer than two validators are in both halves.
        low: lower end of its 95 % interval (Fisher's transform).
        high: upper end.
        validators: how many are in both halves.
    """

    correlation: float
    low: float
    high: float
    validators: int


def persistence(attested: np.ndarray, assigned: np.ndarray, factors: Factors, *, least: int = 3) -> Persistence:
    """Whether those who did well go on doing well.

    Args:
        attested: [V, T] duties performed.
        assigned: [V, T] duties.
        factors: of the panel, which name its incidents; these are left out.
        least: intervals that a validator needs in either half.
    """
    counted = (assigned > 0) & ~np.asarray(factors.incident)[None, :]
    rate = np.where(counted, attested / np.maximum(assigned, 1.0), np.nan)
    relative = rate - np.array([np.nanmedian(column) if np.any(~np.isnan(column)) else 0.0 for column in rate.T])
    middle = rate.shape[1] // 2
    both = np.ones(rate.shape[0], bool)
    means = []
    for half in (slice(None, middle), slice(middle, None)):
        number = counted[:, half].sum(axis=1)
        both &= number >= least
        means.append(np.nansum(relative[:, half], axis=1) / np.maximum(number, 1))
    size = int(both.sum())
    if size < 4:
        return Persistence(correlation=float("nan"), low=float("nan"), high=float("nan"), validators=size)
    found = float(ranking.rank_correlation(jnp.asarray(means[0][both]), jnp.asarray(means[1][both])))
    half_width = 1.96 * 1.03 / np.sqrt(size - 3)
    turned = np.arctanh(np.clip(found, -1.0 + 1e-12, 1.0 - 1e-12))
    low, high = np.tanh([turned - half_width, turned + half_width])
    return Persistence(correlation=found, low=float(low), high=float(high), validators=size)


def _compare(rows: Rows, cluster: np.ndarray, test: np.ndarray, weights: np.ndarray, key: jax.Array) -> list[Ranked]:
    """Every score on the rows of the test."""
    factors, weights = np.asarray(rows.data.factors)[test], weights[test]
    group, good = jnp.asarray(rows.data.interval)[test], jnp.asarray(rows.good[test])
    attested, assigned = np.asarray(rows.data.attested)[test], np.asarray(rows.data.assigned)[test]
    rate = jnp.asarray(attested / assigned)
    code = np.unique(cluster[test], return_inverse=True)[1]
    drawn = jax.random.exponential(key, (DRAWS, int(code.max()) + 1), rate.dtype)
    equal = np.full(3, 1.0 / 3.0)
    one = np.all(weights == weights[:1])
    candidates = {"fit": weights, **{name: np.eye(3)[at] for at, name in enumerate(FACTORS)}, "equal": equal}
    found = []
    for name, w in candidates.items():
        score = jnp.asarray(np.sum(factors * w, axis=1).round(12))  # so that equal factors tie however they are summed
        value, low, high = _auc_interval(score, good, group, drawn, jnp.asarray(code))
        shown = w if w.ndim == 1 else weights[0] if one else np.full(3, np.nan)
        found.append(
            Ranked(
                name=name,
                weights=shown,
                auc=float(value.value),
                auc_low=float(low),
                auc_high=float(high),
                concordance=float(_concordance(score, rate, group).value),
                pairs=int(value.pairs),
                bad=int(np.sum(~rows.good[test])),
            )
        )
    return found


@jax.jit
def _concordance(score: jax.Array, rate: jax.Array, group: jax.Array) -> ranking.Ranking:
    return ranking.concordance(score, rate, groups=group)


@jax.jit
def _auc_interval(
    score: jax.Array, good: jax.Array, group: jax.Array, drawn: jax.Array, code: jax.Array
) -> tuple[ranking.Ranking, jax.Array, jax.Array]:
    """AUC, and its 95 % interval over weights drawn for whole clusters."""
    value = ranking.auc(score, good, groups=group)
    again = jax.lax.map(lambda weight: ranking.auc(score, good, groups=group, weights=weight[code]).value, drawn)
    low, high = jnp.quantile(again, 0.025), jnp.quantile(again, 0.975)
    return value, low, high
