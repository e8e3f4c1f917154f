"""Workload: the sweep driver that users call, reduced as it runs, over a list of lanes and over a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from benchmarks import baselines, compiled, lanes
from benchmarks.setting import Setting, constants, numpy_chunk
from benchmarks.timing import Task
from jaxstake.analysis.reductions import QUANTILE_LEVELS
from jaxstake.analysis.sweep import sweep
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario

MEAN, QUANTILES = "sweep(), mean", "sweep(), mean and quantiles"
BYTES = 4 * 10


def tasks(setting: Setting) -> list[Task]:
    """The driver in both modes, and the baselines over the lanes of the list."""
    c, chunk = constants(), numpy_chunk()
    out = [np.empty(setting.baseline_lanes, np.float32)]
    axes = [dict(zip(lanes.NAMES, columns, strict=True)) for columns in setting.baseline]
    size, grid = setting.baseline_lanes, lanes.grid(setting.lanes)

    def listed(reduce: Sequence[str]) -> Any:
        return lambda turn: _sweep(axes[turn % len(axes)], reduce, "zip")

    def quantiles(columns: Any) -> Any:
        net = baselines.value(columns, c, chunk=chunk)
        valid = net[~np.isnan(net)]
        return valid.mean(dtype=np.float64), np.quantile(valid, QUANTILE_LEVELS)

    return [
        Task(MEAN, "jaxstake, grid", setting.lanes, 0, lambda _: _sweep(grid, ("mean",), "grid")),
        Task(MEAN, "jaxstake, list", size, BYTES, listed(("mean",))),
        setting.theirs(MEAN, "NumPy", BYTES, lambda x: baselines.means(x, c, slopes=False, chunk=chunk)),
        setting.theirs(MEAN, "Numba", BYTES, lambda x: compiled.means(x, c, out)),
        Task(QUANTILES, "jaxstake, grid", setting.lanes, 0, lambda _: _sweep(grid, ("mean", "quantiles"), "grid")),
        Task(QUANTILES, "jaxstake, list", size, BYTES, listed(("mean", "quantiles"))),
        setting.theirs(QUANTILES, "NumPy", BYTES, quantiles),
    ]


def _sweep(axes: Any, reduce: Sequence[str], mode: Any) -> Any:
    found = sweep(apr, Scenario(), axes, mode=mode, outputs="net", reduce=reduce, dtype="float32")
    return jax.block_until_ready(found["net_mean"].values)
