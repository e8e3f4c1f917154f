"""What a loss says about its parameters at the minimum: standard errors, and the directions in which it is flat.

Curvature is taken in natural units of the free parameters: a step of 1 is a factor of e for a parameter with one bound,
a unit of log odds for one with two, and for an unbounded one its own size (1 if that is less). A direction is flat when
its curvature is below the square root of the precision relative to the largest; what it moves has no standard error.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.typing import Scalar

LOADING = 0.1
"""Part of a flat direction along one parameter from which on the parameter counts as not identified."""


@pytree
class Curvature:
    """The Hessian of a loss at its minimum, taken apart. P parameters."""

    covariance: jax.Array = leaf(meaning="[P, P] of the free parameters, flat directions left out")
    eigenvalues: jax.Array = leaf(meaning="[P] curvature along each direction, ascending")
    directions: jax.Array = leaf(meaning="[P, P] directions in natural units, a column each")
    flat: jax.Array = leaf(meaning="[P] whether the loss is flat along each direction")
    identified: jax.Array = leaf(meaning="[P] whether each parameter is identified")


def curvature(hessian: jax.Array, *, scale: jax.Array, observations: Scalar) -> Curvature:
    """Take the Hessian at a minimum apart.

    Equation: `covariance = S V (N diag(lambda))^-1 V' S` with `S H S = V diag(lambda) V'`, over the directions that
    are not flat.

    Args:
        hessian: [P, P] second derivatives of the loss in the free parameters.
        scale: [P] natural unit of each, > 0.
        observations: N, by which the loss must be multiplied to be a negative log likelihood: 1 if it is a sum over
            observations, their number if it is the mean.

    Returns:
        `Curvature`; everything is flat where the Hessian is not finite.

    Example:
        >>> found = curvature(jnp.diag(jnp.asarray([4.0, 0.0])), scale=jnp.ones(2), observations=25.0)
        >>> [bool(known) for known in found.identified], f"{found.covariance[0, 0]:.2f}"
        ([True, False], '0.01')
    """
    scaled = hessian * scale[:, None] * scale[None, :]
    usable = jnp.all(jnp.isfinite(scaled))
    safe = jnp.where(usable, 0.5 * (scaled + scaled.T), jnp.eye(scale.size, dtype=scaled.dtype))
    eigenvalues, directions = jnp.linalg.eigh(safe)
    least = jnp.sqrt(jnp.finfo(scaled.dtype).eps) * jnp.max(jnp.abs(eigenvalues))
    flat = (eigenvalues <= least) | ~usable
    inverse = jnp.where(flat, 0.0, 1.0 / (observations * jnp.where(flat, 1.0, eigenvalues)))
    natural = (directions * inverse[None, :]) @ directions.T
    identified = ~jnp.any(flat[None, :] & (jnp.abs(directions) > LOADING), axis=1)
    return Curvature(
        covariance=natural * scale[:, None] * scale[None, :],
        eigenvalues=jnp.where(usable, eigenvalues, jnp.nan),
        directions=directions,
        flat=flat,
        identified=identified,
    )
