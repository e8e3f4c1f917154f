"""Newton's method with damping, for smooth losses of a few parameters: few steps, and one evaluation in each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.analysis.descent import Descent
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

PATIENCE = 12
"""Steps refused in a row after which a descent stops: rounding has the last word."""
LONGEST = 2.0
"""Length of the longest step in free parameters, a factor of e squared for a parameter with one bound."""


@pytree
class _State:
    """What the loop carries."""

    free: Any = leaf()
    loss: Any = leaf()
    gradient: Any = leaf()
    hessian: Any = leaf()
    damping: Any = leaf()
    step: Any = leaf()
    refused: Any = leaf()
    trace: Any = leaf()


def newton(objective: Callable[[jax.Array], jax.Array], begin: jax.Array, *, steps: int, tolerance: Scalar) -> Descent:
    """Go down from a beginning until the gradient is small, the steps are used up or every step is refused.

    Equation: a step is `-V (|L| + d)^-1 V' g` with `H = V L V'` the Hessian, so that it leads down at a saddle too; the
    damping d shrinks after a step that lowers the loss, and grows after one that is refused.

    Args:
        objective: of [P] free parameters; a scalar, twice differentiable.
        begin: [P].
        steps: most steps; sets the length of the trace.
        tolerance: of the largest derivative.

    Returns:
        `Descent`; a loss that is not finite at the beginning ends it.
    """

    def slope(free: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        value, gradient = jax.value_and_grad(objective)(free)
        return gradient, (value, gradient)

    def evaluate(free: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        hessian, (value, gradient) = jax.jacfwd(slope, has_aux=True)(free)
        return value, gradient, hessian

    def going(state: _State) -> jax.Array:
        unfinished = (jnp.max(jnp.abs(state.gradient)) > tolerance) & (state.step < steps)
        return unfinished & (state.refused < PATIENCE) & jnp.isfinite(state.loss)

    def step(state: _State) -> _State:
        candidate = state.free + _direction(state.gradient, state.hessian, state.damping)
        value, gradient, hessian = evaluate(candidate)
        usable = jnp.isfinite(value) & jnp.all(jnp.isfinite(gradient)) & jnp.all(jnp.isfinite(hessian))
        first = state.step == 0  # which only evaluates the beginning
        better = usable & (first | (value <= state.loss))
        keep = lambda new, old: jnp.where(better, new, old)  # noqa: E731
        return _State(
            free=keep(candidate, state.free),
            loss=jnp.where(first & ~usable, jnp.nan, keep(value, state.loss)),
            gradient=keep(gradient, state.gradient),
            hessian=keep(hessian, state.hessian),
            damping=jnp.where(first, 1e-2, jnp.where(better, 0.1 * state.damping, 4.0 * state.damping + 1e-6)),
            step=state.step + 1,
            refused=jnp.where(better & ~(value == state.loss), 0, state.refused + 1),
            trace=state.trace.at[state.step].set(jnp.where(first & ~usable, jnp.nan, keep(value, state.loss))),
        )

    size, dtype = begin.size, begin.dtype
    start = _State(
        free=begin,
        loss=jnp.asarray(jnp.finfo(dtype).max, dtype),
        gradient=jnp.zeros(size, dtype).at[0].set(jnp.inf),
        hessian=jnp.eye(size, dtype=dtype),
        damping=jnp.asarray(0.0, dtype),
        step=jnp.asarray(0),
        refused=jnp.asarray(0),
        trace=jnp.full(steps, jnp.nan, dtype),
    )
    end = jax.lax.while_loop(going, step, start)
    norm = jnp.max(jnp.abs(end.gradient))
    return Descent(
        free=end.free,
        loss=end.loss,
        gradient_norm=norm,
        steps=end.step,
        converged=jnp.isfinite(end.loss) & (norm <= tolerance),
        trace=end.trace,
    )


def _direction(gradient: jax.Array, hessian: jax.Array, damping: jax.Array) -> jax.Array:
    """The damped step; none where there is no gradient yet."""
    known = jnp.all(jnp.isfinite(gradient))
    slope = jnp.where(known, gradient, 0.0)
    bends, axes = jnp.linalg.eigh(0.5 * (hessian + hessian.T))
    sizes = jnp.abs(bends)
    largest = jnp.maximum(jnp.max(sizes), jnp.finfo(slope.dtype).tiny)
    floor = jnp.finfo(slope.dtype).eps * largest
    step = -axes @ ((axes.T @ slope) / jnp.maximum(sizes + damping * largest, floor))
    length = jnp.sqrt(jnp.sum(step**2))
    return step * jnp.minimum(1.0, LONGEST / jnp.maximum(length, jnp.finfo(slope.dtype).tiny))
