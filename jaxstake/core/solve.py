"""A bracketed root with its implicit derivative."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar


@pytree
class Root:
    """A solved root.

    `value` is NaN, with a NaN gradient, where the search failed: the function has the same sign at both ends of
    the bracket or is NaN where it matters, or the steps did not suffice. `residual` is the function there, `steps`
    the evaluations used, `converged` whether the bracket shrank to the tolerance.
    """

    value: Any = leaf()
    residual: Any = leaf()
    steps: Any = leaf()
    converged: Any = leaf()


def solve_bracketed(
    function: Callable[[Any], Any],
    *,
    low: Scalar,
    high: Scalar,
    tolerance: float | None = None,
    max_steps: int = 256,
) -> Root:
    """Root of a continuous scalar function between `low` and `high`.

    The root is found by Chandrupatla's method (inverse quadratic interpolation where it is safe,
    else bisection), so it never leaves the bracket. Its derivative in whatever `function` closes
    over follows from the implicit function theorem, `dx/dp = -(df/dp)/(df/dx)`, and not from the
    iterations; higher derivatives work too. The bracket itself has no gradient.

    Args:
        function: scalar to scalar; may close over traced parameters.
        low: one end of the bracket, scalar.
        high: the other end, scalar.
        tolerance: width of the bracket at which to stop, relative to the root; default four rounding units. A root
            nearer to zero than 2^-100 of the given bracket is found to that distance only.
        max_steps: most evaluations after the first two; a simple root takes about ten, one at which the function is
            not smooth up to twice the steps of bisection.

    Returns:
        `Root`; failure is a NaN value and `converged` False, never an exception inside `jit`. A pole at which the
        function changes its sign is taken for a root: look at `residual`.

    Raises:
        ValueError: low or high is not a scalar.

    Source: T. R. Chandrupatla, Advances in Engineering Software 28 (1997) 145-149.

    Example:
        >>> square_root = lambda a: solve_bracketed(lambda x: x * x - a, low=0.0, high=10.0).value
        >>> print(f"{square_root(4.0):.5f} {jax.grad(square_root)(4.0):.5f}")
        2.00000 0.25000
    """
    low, high = as_float(low), as_float(high)
    dtype = jnp.result_type(low, high)
    low, high = jax.lax.stop_gradient((jnp.asarray(low, dtype), jnp.asarray(high, dtype)))
    if low.ndim or high.ndim:
        raise ValueError(f"low and high must be scalars, got shapes {low.shape} and {high.shape}; vmap instead")
    relative = 4 * float(jnp.finfo(dtype).eps) if tolerance is None else tolerance

    def solve(f: Callable[[Any], Any], _: Any) -> tuple[Any, Any]:
        return _chandrupatla(f, low, high, relative, max_steps)

    value, report = jax.lax.custom_root(
        function, 0.5 * (low + high), solve, lambda linear, y: y / linear(jnp.ones_like(y)), has_aux=True
    )
    steps, converged = report[0], report[1] > 0
    value = value * jnp.where(converged, 1.0, jnp.nan)  # a product, so that the gradient fails too
    return Root(value=value, residual=function(value), steps=steps, converged=converged)


def _chandrupatla(f: Callable[[Any], Any], low: Any, high: Any, relative: float, max_steps: int) -> tuple[Any, Any]:
    """Iterate with newest point a, opposite point b, former point c, until the bracket is narrow.

    Returns the root and [steps, converged] as floats, which is what `custom_root` carries.
    """
    f_low, f_high = f(low), f(high)
    bracketed = jnp.sign(f_low) * jnp.sign(f_high) <= 0
    smallest = jnp.maximum(jnp.abs(high - low) * 2.0**-100, jnp.finfo(low.dtype).tiny)  # for a root at zero

    def finest(a: Any, b: Any) -> Any:
        return relative * jnp.maximum(jnp.abs(a), jnp.abs(b)) + smallest

    def wide(a: Any, b: Any) -> Any:
        return jnp.abs(b - a) > 2 * finest(a, b)

    def unfinished(state: tuple[Any, ...]) -> Any:
        a, fa, b, fb, _, _, _, step = state
        return bracketed & (step < max_steps) & wide(a, b) & (fa != 0) & (fb != 0)

    def advance(state: tuple[Any, ...]) -> tuple[Any, ...]:
        a, fa, b, fb, c, fc, fraction, step = state
        x = a + fraction * (b - a)
        fx = f(x)
        same = jnp.sign(fx) == jnp.sign(fa)
        c, fc = jnp.where(same, a, b), jnp.where(same, fa, fb)
        b, fb = jnp.where(same, b, a), jnp.where(same, fb, fa)
        return x, fx, b, fb, c, fc, _next_fraction(x, fx, b, fb, c, fc, finest(x, b)), step + 1

    start = (high, f_high, low, f_low, low, f_low, jnp.asarray(0.5, low.dtype), jnp.asarray(0))
    a, fa, b, fb, *_, steps = jax.lax.while_loop(unfinished, advance, start)
    value = jnp.where(jnp.abs(fa) <= jnp.abs(fb), a, b)
    narrow = ~wide(a, b) | (fa == 0) | (fb == 0)
    converged = narrow & (jnp.sign(fa) * jnp.sign(fb) <= 0)  # not so if a function value was NaN
    return value, jnp.stack([steps.astype(a.dtype), converged.astype(a.dtype)])


def _next_fraction(a: Any, fa: Any, b: Any, fb: Any, c: Any, fc: Any, finest: Any) -> Any:
    """Where to evaluate next, as a fraction of the way from a to b, no nearer to either than the finest step."""
    xi = (a - b) / jnp.where(c == b, 1.0, c - b)
    phi = (fa - fb) / jnp.where(fc == fb, 1.0, fc - fb)
    safe = (c != b) & (fc != fb) & (fc != fa) & (phi * phi < xi) & ((1 - phi) ** 2 < 1 - xi)
    alpha = (c - a) / jnp.where(a == b, 1.0, b - a)
    quadratic = fa / jnp.where(safe, fb - fa, 1.0) * fc / jnp.where(safe, fb - fc, 1.0) + alpha * fa / jnp.where(
        safe, fc - fa, 1.0
    ) * fb / jnp.where(safe, fc - fb, 1.0)
    margin = jnp.clip(finest / jnp.maximum(jnp.abs(b - a), jnp.finfo(a.dtype).tiny), 0.0, 0.5)
    safe &= jnp.isfinite(quadratic)  # differences of function values may underflow
    return jnp.clip(jnp.where(safe, quadratic, 0.5), margin, 1 - margin)
