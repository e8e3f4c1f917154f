"""Laws of income for the tests of luck, compiled functions of them, and families whose sums have closed forms."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.core import leaves
from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormal, LogNormalPareto, WithZeros
from jaxstake.economy.scenario import Scenario

PERFECT = {"network.participation": 1.0, "network.block_rate": 1.0, "validator.uptime": 1.0}
BEHIND = {
    "network.participation": 0.95,
    "network.block_rate": 0.97,
    "network.tips_per_block_eth": 0.003,
    "validator.uptime": 0.9,
    "validator.effective_balance_eth": 64.0,
}
NOTHING = WithZeros(paid_share=0.0, paid=LogNormal(log_mean=-4.0, log_std=1.0))
HEAVY = LogNormalPareto(
    log_mean=-4.5, log_std=0.8, threshold_eth=0.05, tail_share=0.08, tail_scale_eth=0.05, tail_shape=0.4
)
GRID = 1 << 14

_compiled = functools.partial(jax.jit, static_argnames=("points", "beyond"))(risk.distribution)


def exponential(mean_eth: float) -> LogNormalPareto:
    """Block values that are all tail, with shape 0."""
    return LogNormalPareto(
        log_mean=-9.0, log_std=1.0, threshold_eth=1e-12, tail_share=1.0, tail_scale_eth=mean_eth, tail_shape=0.0
    )


def distribution(found: risk.IncomeLaw, *, points: int = GRID, **more: Any) -> risk.ReturnDistribution:
    """The distribution, compiled once for each family and number of points."""
    law = jax.tree.map(lambda x: x if hasattr(x, "dtype") and not x.weak_type else floats(x), found)
    return _compiled(law, points=points, **more)


def scenario(values: dict[str, Any], block_value: Any = None) -> Scenario:
    base = Scenario() if block_value is None else dataclasses.replace(Scenario(), block_value=block_value)
    return leaves.replace(base, values)


def law(values: dict[str, Any], block_value: Any = None, **more: Any) -> risk.IncomeLaw:
    return risk.income_law(scenario(values, block_value), **more)


def moved(found: risk.IncomeLaw, values: dict[str, Any]) -> risk.IncomeLaw:
    return leaves.replace(found, values)


def grid(found: risk.ReturnDistribution) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the cells and their mass, in double precision."""
    mass = np.asarray(found.mass, np.float64)
    return float(found.start) + float(found.step) * (np.arange(mass.size) + 0.5), mass


def floats(values: Any) -> jax.Array:
    return jnp.asarray(values, float)
