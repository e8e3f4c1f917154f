"""The type that signatures use."""

from __future__ import annotations

from typing import TypeAlias

import jax

Scalar: TypeAlias = jax.Array | float
"""A number without axes: a Python number or a JAX scalar, traced or not. The caller vmaps."""
