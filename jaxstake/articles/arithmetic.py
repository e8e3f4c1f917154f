"""The one operation in which the documents' Python and JAX differ: division by zero."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float, keep_where
from jaxstake.core.typing import Scalar


def divide(numerator: Scalar, denominator: Scalar) -> jax.Array:
    """Quotient, and NaN in value and gradient where the denominator is 0, where the documents' code stops.

    Example:
        >>> float(divide(1.0, 4.0)), float(divide(1.0, 0.0))
        (0.25, nan)
    """
    numerator, denominator = as_float(numerator), as_float(denominator)
    zero = denominator == 0
    return keep_where(~zero, numerator / jnp.where(zero, 1.0, denominator), otherwise=jnp.nan)
