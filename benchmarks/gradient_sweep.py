"""Workload: the net APR and its ten slopes over lanes, ten arrays in and eleven out."""

from __future__ import annotations

import numpy as np

from benchmarks import baselines, compiled, models
from benchmarks.setting import Setting, constants, numpy_chunk
from benchmarks.timing import Task

WORK = "value and gradient"
BYTES = 4 * (10 + 11)


def tasks(setting: Setting) -> list[Task]:
    """Reverse mode, by one call and in chunks, against central differences."""
    c, chunk = constants(), numpy_chunk()
    out = [np.empty(setting.baseline_lanes, np.float32) for _ in range(11)]
    found = [setting.ours(WORK, "", BYTES, models.swept(models.net_and_gradient))]
    if size := models.block():
        found.append(setting.ours(WORK, "in chunks", BYTES, models.in_chunks(models.net_and_gradient, size=size)))
    return [
        *found,
        setting.theirs(WORK, "NumPy, 21 evaluations", BYTES, lambda x: baselines.value_and_gradient(x, c, chunk=chunk)),
        setting.theirs(WORK, "Numba, 21 evaluations", BYTES, lambda x: compiled.value_and_gradient(x, c, out)),
    ]
