"""Signed slopes of the three factors by Newton's method, and what clusters of rows say about their error.

The scoring model in other words: `log odds = c_interval + b . factors`, with `b = k (alpha, beta, gamma)` free to be
negative. Where every slope is positive it is the same fit; where one is not, the weights have run into a bound, and
the slopes still have an error that can be stated.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.pytree import leaf, pytree
from jaxstake.microstaking.scoring import Observations, log_kernel

STEPS = 60
FLAT = 1e-9
"""Curvature, relative to the largest, below which a direction is flat."""


@pytree
class Slopes:
    """Slopes, log odds of rho and intercepts at the least loss; the order of matrices is (b_P, b_T, b_R, logit rho)."""

    slopes: jax.Array = leaf(meaning="[3] log odds of a duty per standard deviation of P, T and R")
    logit_overdispersion: jax.Array = leaf(meaning="log odds of rho")
    intercepts: jax.Array = leaf(meaning="[I] log odds of a duty by interval")
    covariance: jax.Array = leaf(meaning="[4, 4] clustered, flat directions left out")
    information: jax.Array = leaf(meaning="[4, 4] its inverse, 0 along flat directions")
    flat: jax.Array = leaf(meaning="[4] whether the loss is flat along each")
    loss: jax.Array = leaf(meaning="mean negative log likelihood, as the scoring model has it")
    gradient_norm: jax.Array = leaf(meaning="largest derivative of it")
    converged: jax.Array = leaf(meaning="whether the largest derivative met the tolerance")


@pytree
class Anchor:
    """The best intercepts at one point, and how they move around it: what makes a loss of four parameters enough."""

    core: jax.Array = leaf(meaning="[4] slopes and log odds of rho of that point")
    intercepts: jax.Array = leaf(meaning="[I] best there")
    response: jax.Array = leaf(meaning="[4, I] their derivatives, -d2L/(dp dc) / d2L/dc2")


@pytree
class _State:
    point: Any = leaf()
    loss: Any = leaf()
    norm: Any = leaf()
    damping: Any = leaf()
    step: Any = leaf()


@pytree
class _Rows:
    """Derivatives of the log likelihood of each row in its log odds (e) and the log odds of rho (r), [N] each."""

    e: Any = leaf()
    r: Any = leaf()
    ee: Any = leaf()
    er: Any = leaf()
    rr: Any = leaf()


def fit_slopes(
    data: Observations, cluster: jax.Array, *, intervals: int, clusters: int, tolerance: float = 1e-8
) -> Slopes:
    """Fit signed slopes and their clustered covariance; pure, to be compiled and mapped over sets of data.

    Newton's method with a damped, positive Hessian, the intercepts eliminated first (their block is diagonal). The
    covariance is the sandwich `H^-1 (sum_c g_c g_c') H^-1 C/(C - 1)` over the C clusters, `g_c` the sum of a cluster's
    scores after the intercepts are eliminated.

    Args:
        data: the rows [N].
        cluster: [N] number of each row's cluster, 0 to `clusters` - 1.
        intervals: number of intervals, > 0.
        clusters: number of clusters, > 1.
        tolerance: of the largest derivative of the mean loss.

    Returns:
        `Slopes`; a direction without information stays where it began, with information 0.
    """
    begin = _begin(data, intervals)
    loss = _loss(begin, data)
    start = _State(point=begin, loss=loss, norm=jnp.full_like(loss, jnp.inf), damping=0.0 * loss + 1e-3, step=0)

    def going(state: _State) -> jax.Array:
        return (state.norm > tolerance) & (state.step < STEPS) & (state.damping < 1e12)

    def step(state: _State) -> _State:
        gradient, direction = _direction(state.point, data, intervals, state.damping)
        candidate = jax.tree.map(jnp.add, state.point, direction)
        new = _loss(candidate, data)
        better = new <= state.loss + 1e-14 * jnp.abs(state.loss)
        norm = jnp.max(jnp.abs(jnp.concatenate(gradient)))
        done = norm <= tolerance
        take = better & ~done
        point = jax.tree.map(lambda old, moved: jnp.where(take, moved, old), state.point, candidate)
        damping = jnp.where(better, jnp.maximum(state.damping * 0.1, 1e-9), jnp.maximum(state.damping * 10.0, 1e-6))
        return _State(point=point, loss=jnp.where(take, new, state.loss), norm=norm, damping=damping,
                      step=state.step + 1)  # fmt: skip

    end = jax.lax.while_loop(going, step, start)
    return _summary(end, data, cluster, intervals, clusters, tolerance)


def anchor_at(core: jax.Array, data: Observations, begin: jax.Array, *, steps: int = 12) -> Anchor:
    """The best intercepts for given slopes and rho, by Newton's method from where they begin.

    Args:
        core: [4] slopes and log odds of rho.
        data: the rows.
        begin: [I] intercepts.
        steps: of Newton's method.
    """
    number = begin.shape[0]

    def improve(step: int, state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        del step
        c = state[0]
        rows = _derivatives((core, c), data)
        blocks = _blocks(rows, data, number)
        across, own = blocks[1], _positive(blocks[2])
        return c + jnp.clip(_gradients(rows, data, number)[1] / own, -1.0, 1.0), -across / own[None, :]

    intercepts, response = jax.lax.fori_loop(0, steps, improve, (begin, jnp.zeros((4, number), begin.dtype)))
    return Anchor(core=core, intercepts=intercepts, response=response)


def _begin(data: Observations, intervals: int) -> tuple[jax.Array, jax.Array]:
    """Slopes of 0, a correlation of 0.12 and the log odds of every interval's mean rate."""
    done = jax.ops.segment_sum(data.attested, data.interval, intervals)
    duties = jax.ops.segment_sum(data.assigned, data.interval, intervals)
    core = jnp.zeros(4, done.dtype).at[3].set(-2.0)
    return core, jnp.log(done + 0.5) - jnp.log(duties - done + 0.5)


def _log_odds(point: tuple[jax.Array, jax.Array], data: Observations) -> jax.Array:
    core, intercepts = point
    x = data.factors
    return intercepts[data.interval] + x[:, 0] * core[0] + x[:, 1] * core[1] + x[:, 2] * core[2]


def _row(eta: jax.Array, logit_rho: jax.Array, attested: jax.Array, assigned: jax.Array) -> jax.Array:
    rho = jax.nn.sigmoid(logit_rho)
    return log_kernel(attested=attested, assigned=assigned, log_odds=eta, overdispersion=rho)


def _loss(point: tuple[jax.Array, jax.Array], data: Observations) -> jax.Array:
    return -jnp.mean(_row(_log_odds(point, data), point[0][3], data.attested, data.assigned))


def _derivatives(point: tuple[jax.Array, jax.Array], data: Observations) -> _Rows:
    """All of first and second order, forward, row by row."""
    eta = _log_odds(point, data)
    logit_rho = jnp.full_like(eta, 1.0) * point[0][3]
    one = jnp.ones_like(eta)

    def value(e: jax.Array, r: jax.Array) -> jax.Array:
        return _row(e, r, data.attested, data.assigned)

    def slope_e(e: jax.Array, r: jax.Array) -> jax.Array:
        return jax.jvp(lambda x: value(x, r), (e,), (one,))[1]

    def slope_r(r: jax.Array) -> jax.Array:
        return jax.jvp(lambda x: value(eta, x), (r,), (one,))[1]

    e, ee = jax.jvp(lambda x: slope_e(x, logit_rho), (eta,), (one,))
    r, rr = jax.jvp(slope_r, (logit_rho,), (one,))
    _, er = jax.jvp(lambda x: slope_e(eta, x), (logit_rho,), (one,))
    return _Rows(e=e, r=r, ee=ee, er=er, rr=rr)


def _blocks(rows: _Rows, data: Observations, intervals: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Negative Hessian of the log likelihood: of the core [4, 4], across [4, I], and of the intercepts [I]."""
    x = data.factors
    slopes = jnp.einsum("n,ni,nj->ij", -rows.ee, x, x)
    mixed = jnp.einsum("n,ni->i", -rows.er, x)
    core = jnp.zeros((4, 4), x.dtype).at[:3, :3].set(slopes).at[:3, 3].set(mixed).at[3, :3].set(mixed)
    core = core.at[3, 3].set(-jnp.sum(rows.rr))
    across = jnp.concatenate([-rows.ee[:, None] * x, -rows.er[:, None]], axis=1)
    return (
        core,
        jax.ops.segment_sum(across, data.interval, intervals).T,
        jax.ops.segment_sum(-rows.ee, data.interval, intervals),
    )


def _gradients(rows: _Rows, data: Observations, intervals: int) -> tuple[jax.Array, jax.Array]:
    """Scores of the core [4] and of the intercepts [I], summed over rows."""
    core = jnp.concatenate([jnp.einsum("n,ni->i", rows.e, data.factors), jnp.sum(rows.r)[None]])
    return core, jax.ops.segment_sum(rows.e, data.interval, intervals)


def _direction(
    point: tuple[jax.Array, jax.Array], data: Observations, intervals: int, damping: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Derivatives of the mean loss, and the step: curvatures made positive and enlarged by the damping."""
    rows = _derivatives(point, data)
    core, across, own = _blocks(rows, data, intervals)
    up, up_own = _gradients(rows, data, intervals)
    own = _positive(own) * (1.0 + damping)
    reduced = core - (across / own[None, :]) @ across.T
    value, vector = jnp.linalg.eigh(0.5 * (reduced + reduced.T))
    usable = jnp.abs(value) > FLAT * jnp.max(jnp.abs(value))
    inverse = jnp.where(usable, 1.0 / (jnp.where(usable, jnp.abs(value), 1.0) * (1.0 + damping)), 0.0)
    target = up - across @ (up_own / own)
    move = vector @ (inverse * (vector.T @ target))
    move = move / jnp.maximum(1.0, jnp.max(jnp.abs(move)) / 2.0)
    move_own = jnp.clip((up_own - across.T @ move) / own, -2.0, 2.0)
    rows_number = data.attested.shape[0]
    return (-up / rows_number, -up_own / rows_number), (move, move_own)


def _positive(curvature: jax.Array) -> jax.Array:
    return jnp.maximum(jnp.abs(curvature), 1e-9 * jnp.max(jnp.abs(curvature)) + jnp.finfo(curvature.dtype).tiny)


def _summary(
    end: _State, data: Observations, cluster: jax.Array, intervals: int, clusters: int, tolerance: float
) -> Slopes:
    """The sandwich at the end of the search."""
    rows = _derivatives(end.point, data)
    core, across, own = _blocks(rows, data, intervals)
    gradients = _gradients(rows, data, intervals)
    norm = jnp.max(jnp.abs(jnp.concatenate(gradients))) / data.attested.shape[0]
    own = _positive(own)
    reduced = core - (across / own[None, :]) @ across.T
    reduced = 0.5 * (reduced + reduced.T)
    scores = jnp.concatenate([rows.e[:, None] * data.factors, rows.r[:, None]], axis=1)
    scores = scores - rows.e[:, None] * (across / own[None, :]).T[data.interval]
    summed = jax.ops.segment_sum(scores, cluster, clusters)
    meat = summed.T @ summed * (clusters / (clusters - 1.0))
    bread, flat = _inverse(reduced)
    finite = jnp.isfinite(end.loss)
    return Slopes(
        slopes=end.point[0][:3],
        logit_overdispersion=end.point[0][3],
        intercepts=end.point[1],
        covariance=bread @ meat @ bread,
        information=reduced @ _inverse(meat)[0] @ reduced,
        flat=flat,
        loss=end.loss,
        gradient_norm=norm,
        converged=finite & (norm <= 10.0 * tolerance),
    )


def _inverse(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Inverse over the directions that are not flat, and which coordinates a flat one moves.

    Flat is judged after every coordinate is scaled to a curvature of 1, so that units do not matter.
    """
    diagonal = jnp.diagonal(matrix)
    empty = diagonal <= FLAT * jnp.max(diagonal)
    scale = jnp.where(empty, 0.0, 1.0 / jnp.sqrt(jnp.where(empty, 1.0, diagonal)))
    value, vector = jnp.linalg.eigh(matrix * scale[:, None] * scale[None, :])
    usable = value > FLAT
    inner = (vector * jnp.where(usable, 1.0 / jnp.where(usable, value, 1.0), 0.0)[None, :]) @ vector.T
    moved = jnp.any(~usable[None, :] & (jnp.abs(vector) > 0.1), axis=1)
    return inner * scale[:, None] * scale[None, :], moved
