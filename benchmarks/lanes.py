"""The lanes of every APR workload: ten leaves, random around the default scenario, a few outside their domain."""

from __future__ import annotations

from typing import Any

import numpy as np

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

FAULTS = (
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
"""Ways to break the rules that these leaves are under: a column, and a value outside."""


def sample(lanes: int, *, seed: int = 0, dtype: Any = np.float32) -> list[np.ndarray]:
    """Ten vectors in the order of `NAMES`; one lane in ten thousand, and at least one, breaks a rule."""
    rng = np.random.default_rng(seed)
    columns = []
    for low, high in RANGES.values():
        unit = rng.random(lanes, dtype=dtype)
        columns.append(unit * dtype(high - low) + dtype(low))
    for number, lane in enumerate(rng.choice(lanes, max(1, round(lanes * INVALID_SHARE)), replace=False)):
        column, value = FAULTS[number % len(FAULTS)]
        columns[column][lane] = value
    return columns


def grid(lanes: int) -> dict[str, np.ndarray]:
    """Axes of a grid over the ten leaves with that many lanes, a power of two."""
    bits = lanes.bit_length() - 1
    if lanes != 1 << bits:
        raise ValueError(f"lanes must be a power of two, got {lanes}")
    lengths = [1 << (bits // len(RANGES) + (place < bits % len(RANGES))) for place in range(len(RANGES))]
    return {name: np.linspace(*RANGES[name], length) for name, length in zip(NAMES, lengths, strict=True)}
