"""How well a score ranks: concordance and AUC within groups, exact, smooth or weighted, and rank correlation.

Only pairs within one group (an interval) are compared. Pairs that the score ties count half. Where there is no pair to
compare, because all outcomes of every group are equal, the value is NaN and the number of pairs 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require_domain
from jaxstake.core.domain import NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Ranking:
    """A measure of ranking and what it rests on."""

    value: jax.Array = leaf(meaning="share of pairs in the right order, from 0 to 1; 1/2 is chance; NaN without pairs")
    pairs: jax.Array = leaf(meaning="pairs compared, each with the product of its weights")


def auc(
    scores: jax.Array, labels: jax.Array, *, groups: jax.Array | None = None, weights: jax.Array | None = None
) -> Ranking:
    """Chance that a positive row has a higher score than a negative one of its group: the area under the ROC curve.

    Equation: `sum_g sum_{i+, j-} w_i w_j (1[s_i > s_j] + 1[s_i = s_j]/2) / sum_g sum_{i+, j-} w_i w_j`, by one sort.

    Args:
        scores: [N] scores.
        labels: [N] true for a positive row.
        groups: [N] whole numbers; default one group.
        weights: [N] of rows, >= 0; default 1 each.

    Returns:
        `Ranking`; NaN with 0 pairs where no group has both classes.

    Raises:
        ValueError: shapes disagree, or a concrete weight is negative.

    Source: H. B. Mann and D. R. Whitney, Annals of Mathematical Statistics 18 (1947) 50-60.

    Example:
        >>> found = auc(jnp.array([0.1, 0.4, 0.4, 0.9]), jnp.array([False, True, False, True]))
        >>> float(found.value), float(found.pairs)
        (0.875, 4.0)
    """
    s, group, w = _checked(scores, groups, weights)
    positive = as_float(_vector("labels", labels, s.shape)) > 0
    order = jnp.lexsort((s, group))
    s, group = s[order], group[order]
    up = jnp.where(positive[order], w[order], 0.0)
    down = jnp.where(positive[order], 0.0, w[order])
    below = _exclusive(down)
    group_start, tie_start = _starts(_changes(group)), _starts(_changes(group) | _changes(s))
    lower = below[tie_start] - below[group_start]
    tied = _through(below + down, tie_start) - below[tie_start]
    whole = _through(below + down, group_start) - below[group_start]
    return _share(jnp.sum(up * (lower + 0.5 * tied)), jnp.sum(up * whole))


def smooth_auc(
    scores: jax.Array,
    labels: jax.Array,
    *,
    temperature: Scalar,
    groups: jax.Array | None = None,
    weights: jax.Array | None = None,
) -> Ranking:
    """AUC with a gradient: every pair counts `sigmoid((s_i - s_j)/temperature)`.

    Goes to `auc` as the temperature goes to 0, ties counting half at every one. Of order N^2.

    Args:
        scores: [N] scores.
        labels: [N] true for a positive row.
        temperature: in units of the score, > 0.
        groups: [N] whole numbers; default one group.
        weights: [N] of rows, >= 0; default 1 each.

    Returns:
        `Ranking`; NaN with 0 pairs where no group has both classes.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> found = smooth_auc(jnp.array([0.0, 1.0]), jnp.array([False, True]), temperature=0.5)
        >>> print(f"{found.value:.4f}")
        0.8808
    """
    s, group, w = _checked(scores, groups, weights)
    positive = as_float(_vector("labels", labels, s.shape)) > 0
    width = require_domain("temperature", temperature, POSITIVE)
    up, down = jnp.where(positive, w, 0.0), jnp.where(positive, 0.0, w)
    pair = jnp.where(group[:, None] == group[None, :], up[:, None] * down[None, :], 0.0)
    won = jax.nn.sigmoid((s[:, None] - s[None, :]) / width)
    return _share(jnp.sum(pair * won), jnp.sum(pair))


def concordance(
    scores: jax.Array, outcomes: jax.Array, *, groups: jax.Array | None = None, weights: jax.Array | None = None
) -> Ranking:
    """Chance that, of two rows of a group with different outcomes, the better has the higher score.

    Equation: `AUC` with a pair for every `y_i > y_j` in the place of classes; the two agree for outcomes 0 and 1.
    Counted exactly in O(n log n): level by level, the rows of a group are divided by one binary digit of the rank of
    their score, and those of the upper half find the weight of those of the lower half with a worse outcome.

    Args:
        scores: [N] scores.
        outcomes: [N] outcomes, the larger the better.
        groups: [N] whole numbers; default one group.
        weights: [N] of rows, >= 0; default 1 each.

    Returns:
        `Ranking`; NaN with 0 pairs where all outcomes of every group are equal.

    Raises:
        ValueError: shapes disagree, or a concrete weight is negative.

    Source: F. E. Harrell et al., JAMA 247 (1982) 2543-2546.

    Example:
        >>> found = concordance(jnp.array([1.0, 2.0, 3.0]), jnp.array([0.1, 0.9, 0.5]))
        >>> print(f"{found.value:.4f} of {found.pairs:.0f}")
        0.6667 of 3
    """
    s, group, w = _checked(scores, groups, weights)
    y = as_float(_vector("outcomes", outcomes, s.shape))
    rank = _dense_rank(s)
    order = jnp.lexsort((y, group))
    y, group, rank, w = y[order], group[order], rank[order], w[order]
    worse = _worse(_changes(group), y, w)
    pairs = jnp.sum(w * worse)

    def level(bit: jax.Array, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        head, outcome, place, weight, won = state
        upper = (place >> (digits - 1 - bit)) & 1
        beaten = _worse(head, outcome, jnp.where(upper == 0, weight, 0.0))
        won = won + jnp.sum(jnp.where(upper == 1, weight * beaten, 0.0))
        part = jnp.cumsum(head)
        divided = jnp.lexsort((upper, part))
        part, upper = part[divided], upper[divided]
        return _changes(part) | _changes(upper), outcome[divided], place[divided], weight[divided], won

    digits = max(1, (s.shape[0] - 1).bit_length())
    begin = (_changes(group), y, rank, w, jnp.zeros((), w.dtype))
    head, y, _, w, won = jax.lax.fori_loop(0, digits, level, begin)
    return _share(won + 0.5 * jnp.sum(w * _worse(head, y, w)), pairs)


def rank_correlation(x: jax.Array, y: jax.Array) -> jax.Array:
    """Spearman's rank correlation, ties at their mean rank; NaN where one side is constant.

    Args:
        x: [N] one quantity.
        y: [N] the other.

    Returns:
        Correlation, from -1 to 1.

    Raises:
        ValueError: shapes disagree.

    Source: C. Spearman, American Journal of Psychology 15 (1904) 72-101.

    Example:
        >>> print(f"{rank_correlation(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 9.0, 4.0])):.2f}")
        0.50
    """
    first = as_float(x)
    if first.ndim != 1:
        raise ValueError(f"x must be a vector [N], got shape {first.shape}")
    a, b = _mean_rank(first), _mean_rank(as_float(_vector("y", y, first.shape)))
    a, b = a - jnp.mean(a), b - jnp.mean(b)
    spread = jnp.sum(a * a) * jnp.sum(b * b)
    return jnp.where(spread > 0, jnp.sum(a * b) / jnp.sqrt(jnp.where(spread > 0, spread, 1.0)), jnp.nan)


def _checked(
    scores: jax.Array, groups: jax.Array | None, weights: jax.Array | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    s = as_float(scores)
    if s.ndim != 1 or s.shape[0] == 0:
        raise ValueError(f"scores must be a vector [N] with at least one row, got shape {s.shape}")
    group = jnp.zeros(s.shape, int) if groups is None else _vector("groups", groups, s.shape)
    if weights is None:
        return s, group, jnp.ones_like(s)
    w = as_float(_vector("weights", weights, s.shape))
    return s, group, as_float(require_domain("weights", w, NON_NEGATIVE))


def _vector(name: str, value: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    array = jnp.asarray(value)
    if array.shape != shape:
        raise ValueError(f"{name} must have the shape of the scores {shape}, got shape {array.shape}")
    return array


def _share(won: jax.Array, pairs: jax.Array) -> Ranking:
    some = pairs > 0
    return Ranking(value=jnp.where(some, won / jnp.where(some, pairs, 1.0), jnp.nan), pairs=pairs)


def _changes(x: jax.Array) -> jax.Array:
    """Whether each element differs from the one before; the first does."""
    return jnp.concatenate([jnp.ones(1, bool), x[1:] != x[:-1]])


def _starts(head: jax.Array) -> jax.Array:
    """Position of the first row of each row's block."""
    return jax.lax.cummax(jnp.where(head, jnp.arange(head.shape[0]), 0))


def _exclusive(weight: jax.Array) -> jax.Array:
    return jnp.cumsum(weight) - weight


def _through(inclusive: jax.Array, start: jax.Array) -> jax.Array:
    """Value of an increasing sum at the last row of each row's block."""
    block = jnp.cumsum(jnp.where(start == jnp.arange(start.shape[0]), 1, 0)) - 1
    return jax.ops.segment_max(inclusive, block, start.shape[0])[block]


def _worse(head: jax.Array, outcome: jax.Array, weight: jax.Array) -> jax.Array:
    """Weight of the rows of each row's block that have a smaller outcome; blocks are sorted by outcome."""
    before = _exclusive(weight)
    return before[_starts(head | _changes(outcome))] - before[_starts(head)]


def _dense_rank(x: jax.Array) -> jax.Array:
    """Rank among the distinct values, from 0."""
    order = jnp.argsort(x)
    rank = jnp.cumsum(jnp.where(_changes(x[order]), 1, 0)) - 1
    return jnp.zeros(x.shape, rank.dtype).at[order].set(rank)


def _mean_rank(x: jax.Array) -> jax.Array:
    """Rank from 0, the mean one where values are equal."""
    order = jnp.argsort(x)
    start = _starts(_changes(x[order]))
    last = _through(jnp.arange(x.shape[0]), start)
    return jnp.zeros(x.shape, float).at[order].set(0.5 * as_float(start + last))
