"""What one descent of one loss comes to."""

from __future__ import annotations

import jax

from jaxstake.core.pytree import leaf, pytree


@pytree
class Descent:
    """Where a descent ended: the best point it saw, and what was known there."""

    free: jax.Array = leaf(meaning="[P] point of least loss")
    loss: jax.Array = leaf(meaning="there")
    gradient_norm: jax.Array = leaf(meaning="largest derivative there")
    steps: jax.Array = leaf(meaning="steps taken")
    converged: jax.Array = leaf(meaning="whether the largest derivative met the tolerance")
    trace: jax.Array = leaf(meaning="[steps] loss before every step, NaN after the last")
