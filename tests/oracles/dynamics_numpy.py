"""The dynamics of a staking network as plain NumPy loops over periods, written from the description alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import norm

YEAR = 365.25


def yield_constants(participation: float, execution: float) -> tuple[float, float]:
    """Of Altair's reward rule: flags 14, 26, 14, sync 2, proposer 8 of 64; per root ETH and year."""
    p = participation
    earned = (14 + 26 + 14) / 64 * p * p + 2 / 64 * p
    proposer = 8 / 56 * p * ((14 + 26 + 14) / 64 * p + 2 / 64 * p)
    missed = (14 + 26) / 64 * (1 - p) + 2 / 64 * (1 - p)
    epochs = YEAR * 225
    return (earned + proposer - missed) * 64 / np.sqrt(1e9) * epochs, execution


def run(
    policy: dict[str, float], people: dict[str, float], behaviour: dict[str, float], start: dict[str, Any],
    *, size: np.ndarray, holders: np.ndarray, width: float, volatility: np.ndarray, crowd: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Shares, stake and queues at the end of every period."""
    consensus, execution = yield_constants(people["participation"], people["execution"])
    inclined = people["pi"] * np.minimum(1.0, (size / 32.0) ** -people["kappa"])
    solo, pooled = np.array(start["solo"]), np.array(start["pooled"])
    entering, leaving, active, count = 0.0, 0.0, start["active"], start["validators"]
    days = 7.0
    limit = min(256.0, max(128.0, active / 65536)) * 225 * days
    out: dict[str, list[Any]] = {name: [] for name in ("minimum", "active", "solo", "pooled", "entering", "leaving")}
    for sigma, many in zip(volatility, crowd, strict=True):
        excess = sigma - policy["sigma"]
        raw = np.log(policy["base"]) + policy["a"] * np.log(count / policy["count"]) + policy["b"] * excess
        low, high, tau = np.log(policy["low"]), np.log(policy["high"]), 0.05
        v = np.exp(low + tau * (np.logaddexp(0, (raw - low) / tau) - np.logaddexp(0, (raw - high) / tau)))
        y = consensus / np.sqrt(active) + execution / active
        alone = many * norm.cdf(np.log(y / people["median"]) / people["spread"])
        through = many * norm.cdf(np.log(y * (1 - people["fee"]) / people["median"]) / people["spread"])
        t = behaviour["gate"]
        place = (np.log(size) - np.log(v)) / t
        half = width / 2 / t
        gate = (np.logaddexp(0, place + half) - np.logaddexp(0, place - half)) / (2 * half)
        move = 1 - np.exp(-behaviour["adjustment"] * days / YEAR)
        hazard = behaviour["hazard"] * days / YEAR * np.exp(behaviour["response"] * excess)
        leave = np.minimum(hazard * (size / 32.0) ** -behaviour["zeta"], 1.0)
        gap = move * (through * np.maximum(1 - solo / alone, 0) - pooled)
        join = move * np.maximum(alone * inclined * gate - solo, 0)
        quit_ = leave * solo + move * np.maximum(solo - alone * inclined, 0)
        exits = np.sum(holders * size * (quit_ + leave * pooled + np.maximum(-gap, 0)))
        entries = np.sum(holders * size * (join + np.maximum(gap, 0)))
        solo, pooled = solo + join - quit_, pooled + gap - leave * pooled
        count = active / v
        limit = min(256.0, max(128.0, active / 65536)) * 225 * days
        admitted, released = min(entering + entries, limit), min(leaving + exits, limit)
        entering, leaving = entering + entries - admitted, leaving + exits - released
        active = active + admitted - released
        for name, value in (("minimum", v), ("active", active), ("solo", solo.copy()), ("pooled", pooled.copy()),
                            ("entering", entering), ("leaving", leaving)):  # fmt: skip
            out[name].append(value)
    return {name: np.array(values) for name, values in out.items()}
