"""Selection by stake times score: who is chosen how often, and what an operator gains by splitting itself."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.checks import require, require_domain
from jaxstake.core.domain import FINITE, NON_NEGATIVE
from jaxstake.core.numerics import as_float, safe_log
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import concentration


@pytree
class Selection:
    """Who is chosen, and how concentrated that is. O operators."""

    shares: jax.Array = leaf(meaning="[O] chance of each to be chosen for one slot")
    entropy_nats: jax.Array = leaf(unit="nats", meaning="entropy of the shares")
    herfindahl: jax.Array = leaf(meaning="sum of the squared shares")
    effective_number: jax.Array = leaf(meaning="equal operators that would be as concentrated")


def selection_shares(
    stakes: jax.Array, scores: jax.Array, *, score_power: Scalar = 1.0, stake_power: Scalar = 1.0
) -> jax.Array:
    """Chance of each operator to be chosen for a slot.

    Equation: `p_i = w_i^a exp(eta s_i) / sum_j w_j^a exp(eta s_j)`; `exp(s)` is the positive reading of a score, which
    only counts relative to others. eta = 0, a = 1 is selection by stake.

    Args:
        stakes: [O] stake, any unit, >= 0, not all 0. An operator without stake is never chosen.
        scores: [O] scores, finite; an operator's is `operator_score` of its validators.
        score_power: eta, finite.
        stake_power: a, >= 0. Only 1 is neutral to splitting (see `splitting_gain`).

    Returns:
        [O] chances that add up to 1.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> [f"{p:.3f}" for p in selection_shares(jnp.array([3.0, 1.0]), jnp.zeros(2))]
        ['0.750', '0.250']
    """
    w, s = _pair(stakes, scores)
    eta = require_domain("score_power", score_power, FINITE)
    power = require_domain("stake_power", stake_power, NON_NEGATIVE)
    positive = require(jnp.sum(w) > 0, "stakes must have a positive sum, got {total}", total=jnp.sum(w))
    size = jnp.where(w > 0, power * safe_log(w) + eta * s, -jnp.inf)
    return jax.nn.softmax(size) * positive


def select(stakes: jax.Array, scores: jax.Array, *, score_power: Scalar = 1.0) -> Selection:
    """Shares under selection by stake times score, and their concentration.

    Arguments and errors as for `selection_shares`.

    Example:
        >>> found = select(jnp.array([1.0, 1.0]), jnp.array([0.0, 0.0]))
        >>> print(f"{found.entropy_nats:.4f} {found.herfindahl:.4f}")
        0.6931 0.5000
    """
    p = selection_shares(stakes, scores, score_power=score_power)
    return Selection(
        shares=p,
        entropy_nats=concentration.entropy_nats(p),
        herfindahl=concentration.herfindahl(p),
        effective_number=concentration.effective_number(p),
    )


def expected_proposals(stakes: jax.Array, scores: jax.Array, *, slots: Scalar, score_power: Scalar = 1.0) -> jax.Array:
    """Proposals that each operator can expect: `slots * p_i`.

    Args:
        stakes: [O] stake, any unit, >= 0, not all 0.
        scores: [O] scores.
        slots: number of slots, >= 0.
        score_power: eta.

    Returns:
        [O] expected numbers, which add up to `slots`.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> [f"{n:.2f}" for n in expected_proposals(jnp.array([3.0, 1.0]), jnp.zeros(2), slots=32.0)]
        ['24.00', '8.00']
    """
    number = require_domain("slots", slots, NON_NEGATIVE)
    return number * selection_shares(stakes, scores, score_power=score_power)


def operator_score(scores: jax.Array, stakes: jax.Array, operator: jax.Array, *, operators: int) -> jax.Array:
    """Score of an operator: the stake-weighted mean over its validators, so that equal parts of one leave it.

    Equation: `s_o = sum_{i in o} w_i s_i / sum_{i in o} w_i`.

    Args:
        scores: [V] scores of validators.
        stakes: [V] their stakes, any unit, >= 0.
        operator: [V] number of each one's operator, 0 to `operators` - 1.
        operators: how many there are.

    Returns:
        [operators] scores; NaN for one without stake.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> [float(s) for s in operator_score(jnp.array([1.0, 3.0, 5.0]), jnp.array([32.0, 32.0, 64.0]),
        ...                                   jnp.array([0, 0, 1]), operators=2)]
        [2.0, 5.0]
    """
    w, s = _pair(stakes, scores)
    held = jax.ops.segment_sum(w, operator, operators)
    return jnp.where(
        held > 0, jax.ops.segment_sum(w * s, operator, operators) / jnp.where(held > 0, held, 1.0), jnp.nan
    )


def splitting_gain(
    stakes: jax.Array,
    scores: jax.Array,
    *,
    operator: int,
    parts: int,
    score_power: Scalar = 1.0,
    stake_power: Scalar = 1.0,
) -> jax.Array:
    """What an operator gains in selections by posing as several equal ones with its score.

    Equation: `sum of the shares of its parts / its share before - 1`. It is 0 for every number of parts if the rule is
    linear in stake (a = 1), positive if it is concave (a < 1: `k^(1-a) / (1 - p + p k^(1-a)) - 1`, p the share before),
    and negative if it is convex.

    Args:
        stakes: [O] stake, any unit, >= 0, not all 0.
        scores: [O] scores.
        operator: row of the one that splits; it has stake.
        parts: k, equal parts, > 0; sets a shape.
        score_power: eta.
        stake_power: a, >= 0.

    Returns:
        Relative gain, a fraction; NaN for an operator without stake.

    Raises:
        ValueError: shapes disagree, or a concrete value is out of range.

    Example:
        >>> crowd, scores = jnp.array([10.0, 90.0]), jnp.zeros(2)
        >>> print(f"{splitting_gain(crowd, scores, operator=0, parts=4, stake_power=0.5):.3f}")
        0.600
    """
    w, s = _pair(stakes, scores)
    if not 0 <= operator < w.shape[0]:
        raise ValueError(f"operator must be in [0, {w.shape[0] - 1}], got {operator}")
    if parts < 1:
        raise ValueError(f"parts must be at least 1, got {parts}")
    before = selection_shares(w, s, score_power=score_power, stake_power=stake_power)[operator]
    others = [jnp.delete(x, operator) for x in (w, s)]
    mine = [jnp.full(parts, x, w.dtype) for x in (w[operator] / parts, s[operator])]
    split = [jnp.concatenate(pair) for pair in zip(mine, others, strict=True)]
    after = selection_shares(split[0], split[1], score_power=score_power, stake_power=stake_power)[:parts]
    return jnp.where(before > 0, jnp.sum(after) / jnp.where(before > 0, before, 1.0) - 1.0, jnp.nan)


def _pair(stakes: jax.Array, scores: jax.Array) -> tuple[jax.Array, jax.Array]:
    w, s = as_float(stakes), as_float(scores)
    if w.ndim != 1 or w.shape != s.shape:
        raise ValueError(f"stakes and scores must be vectors of one length, got shapes {w.shape} and {s.shape}")
    return as_float(require_domain("stakes", w, NON_NEGATIVE)), as_float(require_domain("scores", s, FINITE))
