"""Workload: the means over lanes of the net APR and of its ten slopes, ten arrays in and eleven numbers out."""

from __future__ import annotations

import numpy as np

from benchmarks import baselines, compiled, models
from benchmarks.setting import Setting, constants, numpy_chunk
from benchmarks.timing import Task

WORK = "value and gradient, means"
BYTES = 4 * 10


def tasks(setting: Setting) -> list[Task]:
    """Reverse mode reduced on the device against central differences."""
    c, chunk = constants(), numpy_chunk()
    out = [np.empty(setting.baseline_lanes, np.float32) for _ in range(11)]
    return [
        setting.ours(WORK, "", BYTES, models.averaged(models.net_and_gradient, size=models.block())),
        setting.theirs(WORK, "NumPy, 21 evaluations", BYTES, lambda x: baselines.means(x, c, chunk=chunk)),
        setting.theirs(WORK, "Numba, 21 evaluations", BYTES, lambda x: compiled.means(x, c, out)),
    ]
