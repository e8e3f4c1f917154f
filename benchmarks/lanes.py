"""The lanes of every APR workload: ten leaves of the default scenario, random around it, a few outside their domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxstake.core import leaves
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario

RANGES = {
    "network.total_stake_eth": (2e7, 8e7),
    "network.participation": (0.9, 1.0),
    "network.block_rate": (0.9, 1.0),
    "validator.effective_balance_eth": (32.0, 2048.0),
    "validator.uptime": (0.9, 1.0),
    "block_value.log_mean": (-5.5, -3.5),
    "block_value.log_std": (0.3, 1.5),
    "hazards.slashing_probability": (0.0, 1e-3),
    "costs.commission": (0.0, 0.2),
    "hazards.other_slashed_stake_eth": (0.0, 1e5),
}
"""Leaf and the bounds of its lanes; the order of the columns everywhere."""

NAMES = tuple(RANGES)
INVALID_SHARE = 1e-4
"""Share of lanes that break a rule, so that checking is part of the work."""

# One way to break each rule that these leaves are under: a column, and a value outside.
_FAULTS = (
    (0, -1.0),
    (0, 16.0),  # less than the validator's own balance
    (0, np.inf),
    (1, 1.5),
    (2, 0.0),
    (3, 4096.0),  # above the largest balance
    (4, -0.1),
    (5, np.nan),
    (6, -0.5),
    (7, 2.0),
    (8, np.nan),
    (9, -1.0),
)


def sample(lanes: int, *, seed: int = 0, dtype: Any = np.float32) -> list[np.ndarray]:
    """Ten vectors in the order of `NAMES`; one lane in ten thousand, and at least one, is outside the domain."""
    rng = np.random.default_rng(seed)
    columns = []
    for low, high in RANGES.values():
        column = rng.random(lanes, dtype=np.float32)
        columns.append((low + (high - low) * column).astype(dtype, copy=False))
    for number, lane in enumerate(rng.choice(lanes, max(1, round(lanes * INVALID_SHARE)), replace=False)):
        which, value = _FAULTS[number % len(_FAULTS)]
        columns[which][lane] = value
    return columns


def net(base: Scenario, *swept: Any) -> Any:
    """The model under test: net APR of a base scenario with the ten leaves replaced."""
    return apr(leaves.replace(base, dict(zip(NAMES, swept, strict=True)))).net
