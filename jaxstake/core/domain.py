"""Intervals on which an argument is defined, with the words that an error message needs."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp

from jaxstake.core.numerics import as_float
from jaxstake.core.typing import Scalar


@dataclasses.dataclass(frozen=True)
class Domain:
    """An interval; an open end excludes its bound. NaN lies in no domain.

    Example:
        >>> Domain(0.0, 1.0).rule
        'in [0, 1]'
        >>> Domain(0.0, open_low=True).rule
        'greater than 0 and finite'
        >>> bool(FRACTION.contains(0.5)), bool(FRACTION.contains(float("nan")))
        (True, False)
    """

    low: float = -math.inf
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    @property
    def rule(self) -> str:
        """The rule in words, to follow "must be"."""
        if math.isinf(self.low) and math.isinf(self.high):
            return "finite"
        if math.isinf(self.high):
            return f"{'greater than' if self.open_low else 'at least'} {self.low:g} and finite"
        if math.isinf(self.low):
            return f"{'less than' if self.open_high else 'at most'} {self.high:g} and finite"
        left, right = "(" if self.open_low else "[", ")" if self.open_high else "]"
        return f"in {left}{self.low:g}, {self.high:g}{right}"

    def contains(self, value: Scalar) -> jax.Array | bool:
        """Whether `value` lies inside, element by element; traceable. Infinities never do."""
        if not isinstance(value, int | float) and not jnp.issubdtype(value.dtype, jnp.floating):
            value = as_float(value)
        above = value > self.low if self.open_low or math.isinf(self.low) else value >= self.low
        below = value < self.high if self.open_high or math.isinf(self.high) else value <= self.high
        return above & below


FRACTION = Domain(0.0, 1.0)
POSITIVE_FRACTION = Domain(0.0, 1.0, open_low=True)
PROPER_FRACTION = Domain(0.0, 1.0, open_high=True)
NON_NEGATIVE = Domain(0.0)
POSITIVE = Domain(0.0, open_low=True)
FINITE = Domain()
