"""Fit the parameters of any loss: many starts at once, bounds, standard errors, and an honest word on convergence.

One compiled loop per loss, structure and setting; new values and new data of the same shape do not compile again.
Optimisers are optax's, L-BFGS with a zoom line search for smooth deterministic losses and Adam for noisy ones, and a
damped Newton for smooth losses of a few parameters.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from jaxstake.analysis.bounds import from_free, near_bound, to_free
from jaxstake.analysis.descent import Descent
from jaxstake.analysis.identification import Curvature, curvature
from jaxstake.analysis.minimise import Optimizer, minimise
from jaxstake.core import leaves
from jaxstake.core.domain import FINITE, Domain
from jaxstake.core.numerics import as_float
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

Loss: TypeAlias = Callable[..., Any]

AGREEMENT = 1e-6
"""Relative difference in loss within which two restarts found the same minimum (1e-3 in single precision)."""


class ConvergenceWarning(UserWarning):
    """No restart met the tolerance."""


@pytree
class Restarts:
    """Every restart, R of them."""

    parameters: Any = leaf(meaning="where each ended, leaves [R]")
    loss: jax.Array = leaf(meaning="[R] loss there")
    gradient_norm: jax.Array = leaf(meaning="[R] largest derivative in a free parameter")
    steps: jax.Array = leaf(meaning="[R] steps taken")
    converged: jax.Array = leaf(meaning="[R] whether the tolerance was met")
    trace: jax.Array = leaf(meaning="[R, steps] loss before every step, NaN after the last")


@pytree
class Fit:
    """A fit: the best restart, what is known about its parameters, and all restarts.

    A standard error is NaN for a parameter that is not identified or at a bound. `covariance` is in the order of
    `jax.tree.leaves(parameters)`: that of a container's fields, of a mapping's sorted keys.
    """

    parameters: Any = leaf(meaning="of the best restart")
    loss: jax.Array = leaf(meaning="there")
    converged: jax.Array = leaf(meaning="whether the best restart met the tolerance")
    gradient_norm: jax.Array = leaf(meaning="largest derivative in a free parameter there")
    standard_errors: Any = leaf(meaning="from the Hessian, by parameter")
    identified: Any = leaf(meaning="whether the loss bends along each parameter")
    at_bound: Any = leaf(meaning="whether each parameter has run into a bound")
    covariance: jax.Array = leaf(meaning="[P, P] of the parameters, flat directions left out")
    curvature: Curvature = leaf(meaning="of the loss in free parameters")
    agreeing: jax.Array = leaf(meaning="restarts that converged to this minimum")
    restarts: Restarts = leaf(meaning="every restart")


def fit(
    loss: Loss,
    initial: Any,
    *data: Any,
    key: jax.Array,
    bounds: Mapping[str, Domain] | None = None,
    optimizer: Optimizer = "lbfgs",
    steps: int = 300,
    tolerance: float | None = None,
    restarts: int = 8,
    spread: float = 1.0,
    learning_rate: float = 0.05,
    observations: Scalar = 1.0,
) -> Fit:
    """Minimise `loss(parameters, *data)` over the parameters.

    The first restart begins at `initial`, the others around it: normal in the free parameters, with standard deviation
    `spread`. A restart has converged when no derivative in a free parameter exceeds the tolerance.

    Args:
        loss: returns a scalar; a function defined once, since a new one compiles anew.
        initial: container of numbers strictly inside their bounds; any pytree of scalars and vectors.
        data: arrays the loss takes after the parameters.
        key: random key of the restarts, new style.
        bounds: domains by dotted name; default those that the container's fields declare. Bounds hold for every
            element of a vector.
        optimizer: "lbfgs", "newton" (few parameters and a smooth loss: compiles sooner, needs fewer steps) or "adam".
        steps: most steps of a restart, > 0.
        tolerance: of the gradient; default 1e-6, in single precision 1e-3.
        restarts: number of restarts, > 0.
        spread: standard deviation of their beginnings, >= 0.
        learning_rate: of Adam, which decays along a cosine to a hundredth of it.
        observations: what the loss must be multiplied by to be a negative log likelihood: 1 for a sum over
            observations, their number for a mean. Standard errors mean nothing for another loss.

    Returns:
        `Fit`. Restarts whose loss is not finite never win; if there is no other, parameters are NaN.

    Raises:
        ValueError: the initial values, bounds or settings are invalid, or the loss returns no scalar.

    Warns:
        ConvergenceWarning: no restart converged.

    Example:
        >>> loss = lambda at, data: jnp.mean(jnp.log(at["sd"]) + 0.5 * ((data - at["mean"]) / at["sd"]) ** 2)
        >>> found = fit(loss, {"mean": 0.0, "sd": 1.0}, jnp.asarray([1.0, 2.0, 4.0, 5.0]), key=jax.random.key(0),
        ...             bounds={"sd": Domain(0.0, open_low=True)}, restarts=2, observations=4)
        >>> print(f"{found.parameters['mean']:.2f} {found.parameters['sd']:.2f} {found.standard_errors['mean']:.2f}")
        3.00 1.58 0.79
    """
    _check(initial, steps=steps, restarts=restarts, spread=spread)
    domains = _domains(initial, bounds or {})
    double = jnp.finfo(jnp.result_type(float)).bits == 64
    limit = tolerance if tolerance is not None else (1e-6 if double else 1e-3)
    start = jax.tree.map(as_float, initial)
    settings = (loss, domains, optimizer, steps, restarts)
    # optax mixes integers of both widths, which strict promotion refuses.
    with jax.numpy_dtype_promotion("standard"):
        found = _solve(settings, start, data, key, limit, float(spread), float(learning_rate), observations)
    if not bool(found.converged):
        warnings.warn(_complaint(found, limit), ConvergenceWarning, stacklevel=2)
    return found


def solve(
    loss: Loss,
    initial: Any,
    *data: Any,
    key: jax.Array,
    domains: tuple[Domain, ...],
    tolerance: Scalar,
    optimizer: Optimizer = "lbfgs",
    steps: int = 300,
    restarts: int = 8,
    spread: Scalar = 1.0,
    learning_rate: Scalar = 0.05,
    observations: Scalar = 1.0,
) -> Fit:
    """`fit` as a pure function without checks or warnings, to be compiled and mapped over many sets of data.

    Takes what `fit` takes, but for `domains` (one for every leaf of `initial`, in the order of `jax.tree.leaves`) in
    the place of bounds. Under strict promotion of dtypes, call it inside `jax.numpy_dtype_promotion("standard")`.
    """
    flat, unravel = ravel_pytree(initial)
    starts, structure = jax.tree.flatten(initial)

    def bounded(free: jax.Array) -> Any:
        values = [from_free(u, domain=d) for u, d in zip(jax.tree.leaves(unravel(free)), domains, strict=True)]
        return jax.tree.unflatten(structure, values)

    def objective(free: jax.Array) -> jax.Array:
        return jnp.asarray(loss(bounded(free), *data), flat.dtype)

    inner = [to_free(value, domain=d) for value, d in zip(starts, domains, strict=True)]
    centre, _ = ravel_pytree(jax.tree.unflatten(structure, inner))
    noise = jax.random.normal(key, (restarts, flat.size), flat.dtype).at[0].set(0.0)
    begin = centre[None, :] + spread * noise
    search = functools.partial(
        minimise, objective, optimizer=optimizer, steps=steps, tolerance=tolerance, learning_rate=learning_rate
    )
    ends = jax.vmap(search)(begin)
    return _summarise(objective, bounded, initial, domains, ends, observations, tolerance)


def _summarise(
    objective: Callable[[jax.Array], jax.Array],
    bounded: Callable[[jax.Array], Any],
    initial: Any,
    domains: tuple[Domain, ...],
    ends: Descent,
    observations: Scalar,
    tolerance: Scalar,
) -> Fit:
    """The best of the restarts, and what the loss says around it.

    A loss that falls towards a bound is `g exp(u)` above its value there, so that its second derivative in the free
    parameter is its first, which the tolerance has made small; at a minimum beside a bound it is not small.
    """
    best = jnp.argmin(jnp.where(jnp.isfinite(ends.loss), ends.loss, jnp.inf))
    free = jnp.where(jnp.isfinite(ends.loss[best]), ends.free[best], jnp.nan)
    parameters = bounded(free)
    vector, unravel = ravel_pytree(parameters)
    unbounded = ravel_pytree(
        jax.tree.unflatten(
            jax.tree.structure(initial),
            [jnp.full(jnp.shape(x), d == FINITE) for x, d in zip(jax.tree.leaves(initial), domains, strict=True)],
        )
    )[0]
    scale = jnp.where(unbounded, jnp.maximum(jnp.abs(free), 1.0), 1.0)
    hessian = jax.hessian(objective)(free)
    bend = curvature(hessian, scale=scale, observations=observations)
    slope = jax.jacfwd(lambda u: ravel_pytree(bounded(u))[0])(free)
    covariance = slope @ bend.covariance @ slope.T
    near = jax.tree.unflatten(
        jax.tree.structure(initial),
        [
            near_bound(value, start=start, domain=d)
            for value, start, d in zip(jax.tree.leaves(parameters), jax.tree.leaves(initial), domains, strict=True)
        ],
    )
    unbent = jnp.abs(jnp.diagonal(hessian)) <= 10.0 * tolerance
    at_bound = ravel_pytree(near)[0] & unbent
    known = bend.identified & ~at_bound
    errors = jnp.where(known, jnp.sqrt(jnp.diagonal(covariance)), jnp.nan)
    close = AGREEMENT if vector.dtype == jnp.float64 else 1e3 * AGREEMENT
    same = jnp.abs(ends.loss - ends.loss[best]) <= close * jnp.maximum(1.0, jnp.abs(ends.loss[best]))
    return Fit(
        parameters=parameters,
        loss=ends.loss[best],
        converged=ends.converged[best],
        gradient_norm=ends.gradient_norm[best],
        standard_errors=unravel(errors),
        identified=_flags(unravel, bend.identified),
        at_bound=_flags(unravel, at_bound),
        covariance=covariance,
        curvature=bend,
        agreeing=jnp.sum(same & ends.converged),
        restarts=Restarts(
            parameters=jax.vmap(bounded)(ends.free),
            loss=ends.loss,
            gradient_norm=ends.gradient_norm,
            steps=ends.steps,
            converged=ends.converged,
            trace=ends.trace,
        ),
    )


def _flags(unravel: Callable[[jax.Array], Any], flags: jax.Array) -> Any:
    """Booleans [P] by parameter."""
    return jax.tree.map(lambda value: value > 0, unravel(flags.astype(float)))


@functools.partial(jax.jit, static_argnums=0)
def _solve(
    settings: tuple[Any, ...],
    initial: Any,
    data: tuple[Any, ...],
    key: jax.Array,
    tolerance: Scalar,
    spread: Scalar,
    learning_rate: Scalar,
    observations: Scalar,
) -> Fit:
    loss, domains, optimizer, steps, restarts = settings
    return solve(
        loss,
        initial,
        *data,
        key=key,
        domains=domains,
        tolerance=tolerance,
        optimizer=optimizer,
        steps=steps,
        restarts=restarts,
        spread=spread,
        learning_rate=learning_rate,
        observations=observations,
    )


def _domains(initial: Any, bounds: Mapping[str, Domain]) -> tuple[Domain, ...]:
    """The domain of every leaf, in JAX's order, each checked to hold its initial value inside."""
    values, declared = leaves.as_dict(initial), leaves.domains(initial)
    for name in bounds:
        if name not in values:
            raise ValueError(leaves.unknown_name("parameter", name, list(values)))
    found = {name: bounds.get(name, declared.get(name, FINITE)) for name in values}
    for name, domain in found.items():
        if not bool(jnp.all(jnp.isfinite(to_free(values[name], domain=domain)))):
            raise ValueError(f"{name} must begin strictly inside its bounds, {domain.rule}, got {values[name]}")
    return tuple(jax.tree.leaves(leaves.replace(initial, found)))  # a mapping lists its keys in another order than JAX


def _check(initial: Any, *, steps: int, restarts: int, spread: float) -> None:
    if len(leaves.names(initial)) != len(jax.tree.leaves(initial)):
        raise ValueError("initial must be a container or a mapping of numbers and vectors")
    for name, value, least in (("steps", steps, 1), ("restarts", restarts, 1), ("spread", spread, 0)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def _complaint(found: Fit, tolerance: float) -> str:
    ends = found.restarts
    return (
        f"none of {ends.loss.size} restarts converged: best loss {float(found.loss):.6g}, largest derivative "
        f"{float(found.gradient_norm):.3g} against a tolerance of {tolerance:g}, "
        f"{int(jnp.sum(~jnp.isfinite(ends.loss)))} without a finite loss"
    )
