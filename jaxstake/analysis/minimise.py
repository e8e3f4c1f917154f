"""One descent of one loss from one beginning, as a pure loop that vmaps over beginnings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import jax
import jax.numpy as jnp

from jaxstake.analysis.descent import Descent
from jaxstake.analysis.newton import newton
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

Optimizer: TypeAlias = Literal["lbfgs", "adam", "newton"]

PATIENCE = {"lbfgs": 10, "adam": 300}
"""Steps without any improvement after which a descent stops: rounding has the last word. Adam overshoots."""


@pytree
class _State:
    """What the loop carries."""

    free: Any = leaf()
    inner: Any = leaf()
    step: Any = leaf()
    stalled: Any = leaf()
    best: Any = leaf()
    loss: Any = leaf()
    norm: Any = leaf()
    trace: Any = leaf()


def minimise(
    objective: Callable[[jax.Array], jax.Array],
    begin: jax.Array,
    *,
    optimizer: Optimizer,
    steps: int,
    tolerance: Scalar,
    learning_rate: Scalar,
) -> Descent:
    """Go down from a beginning until the gradient is small, the steps are used up or nothing improves any more.

    Args:
        objective: of [P] free parameters; a scalar.
        begin: [P].
        optimizer: "lbfgs", "adam" or "newton".
        steps: most steps; sets the length of the trace.
        tolerance: of the largest derivative.
        learning_rate: of Adam.

    Returns:
        `Descent`; a loss that is not finite ends it.

    Raises:
        ValueError: unknown optimizer.
    """
    import optax

    if optimizer == "newton":
        return newton(objective, begin, steps=steps, tolerance=tolerance)
    if optimizer == "lbfgs":
        method = optax.lbfgs()
    elif optimizer == "adam":
        method = optax.adam(optax.cosine_decay_schedule(learning_rate, steps, alpha=0.01))  # type: ignore[arg-type]
    else:
        raise ValueError(f"optimizer must be 'lbfgs', 'adam' or 'newton', got '{optimizer}'")
    evaluate = optax.value_and_grad_from_state(objective) if optimizer == "lbfgs" else _plain(objective)

    def going(state: _State) -> jax.Array:
        unfinished = (state.norm > tolerance) & (state.step < steps) & (state.stalled < PATIENCE[optimizer])
        return unfinished & ~jnp.isnan(state.loss)

    def step(state: _State) -> _State:
        value, gradient = evaluate(state.free, state=state.inner)
        norm = jnp.max(jnp.abs(gradient))  # type: ignore[arg-type]
        more = {"value": value, "grad": gradient, "value_fn": objective} if optimizer == "lbfgs" else {}
        updates, inner = method.update(gradient, state.inner, state.free, **more)
        first = state.step == 0
        better = first | (value < state.loss)
        usable = jnp.isfinite(value) & jnp.isfinite(norm)
        return _State(
            free=state.free + updates,
            inner=inner,
            step=state.step + 1,
            stalled=jnp.where(better, 0, state.stalled + 1),
            best=jnp.where(better, state.free, state.best),
            loss=jnp.where(usable, jnp.where(better, value, state.loss), jnp.where(first, jnp.nan, state.loss)),
            norm=jnp.where(usable, jnp.where(better, norm, state.norm), jnp.where(first, jnp.inf, state.norm)),
            trace=state.trace.at[state.step].set(value),
        )

    start = _State(
        free=begin,
        inner=method.init(begin),
        step=jnp.asarray(0),
        stalled=jnp.asarray(0),
        best=begin,
        loss=jnp.asarray(jnp.inf, begin.dtype),
        norm=jnp.asarray(jnp.inf, begin.dtype),
        trace=jnp.full(steps, jnp.nan, begin.dtype),
    )
    end = jax.lax.while_loop(going, step, start)
    return Descent(
        free=end.best,
        loss=end.loss,
        gradient_norm=end.norm,
        steps=end.step,
        converged=jnp.isfinite(end.loss) & (end.norm <= tolerance),
        trace=end.trace,
    )


def _plain(objective: Callable[[jax.Array], jax.Array]) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """Value and gradient with the signature of optax's, which takes them from the state of a line search."""

    def evaluate(free: jax.Array, *, state: Any) -> tuple[jax.Array, jax.Array]:
        del state
        return jax.value_and_grad(objective)(free)

    return evaluate
