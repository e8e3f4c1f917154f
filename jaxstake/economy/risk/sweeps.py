"""One function of a scenario over many scenarios, some at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core import leaves
from jaxstake.economy.scenario import Scenario

BATCH = 8
"""Scenarios at a time by default: grids of 2^16 cells then stay near the cache of a CPU."""


def sweep_scenarios(
    function: Callable[[Scenario], Any],
    scenarios: Scenario,
    *,
    varied: Collection[str] | None = None,
    batch: int = BATCH,
) -> Any:
    """A function of a scenario for each of many, compiled once, in batches that bound the memory.

    Args:
        function: a scenario of scalars to numbers or arrays, such as quantiles of `return_distribution`; pass the same
            function again to reuse the compiled program.
        scenarios: leaves [L] to vary, others scalars.
        varied: dotted names of the leaves to vary, if not all that are vectors (an empirical block value holds some).
        batch: scenarios at a time, >= 1; static.

    Returns:
        The function's results, each with a leading axis [L]; a lane out of range is NaN.

    Raises:
        ValueError: no leaf is a vector, or vectors differ in length.

    Example:
        >>> from jaxstake.economy.risk import quantile, return_distribution
        >>> median = lambda one: quantile(return_distribution(one, points=1 << 12), level=0.5)
        >>> many = leaves.replace(Scenario(), {"validator.uptime": jnp.asarray([0.9, 0.95, 1.0])})
        >>> print([f"{x:.2%}" for x in sweep_scenarios(median, many)])
        ['2.16%', '2.35%', '2.55%']
    """
    found = leaves.as_dict(scenarios)
    names = [name for name, value in found.items() if np.ndim(value) == 1] if varied is None else list(varied)
    moved = {name: jnp.asarray(leaves.get(scenarios, name)) for name in names}
    lengths = sorted({value.shape[0] if value.ndim else 1 for value in moved.values()})
    if len(lengths) != 1 or any(value.ndim == 0 for value in moved.values()):
        raise ValueError(f"scenarios must have leaves [L] of one length, got lengths {lengths} of {names}")
    fixed = leaves.replace(scenarios, dict.fromkeys(names, 0.0))
    return _over(function, batch, fixed, moved)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _over(function: Any, batch: int, fixed: Scenario, moved: dict[str, Any]) -> Any:
    return jax.lax.map(lambda one: function(leaves.replace(fixed, one)), moved, batch_size=batch)
