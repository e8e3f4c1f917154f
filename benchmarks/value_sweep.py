"""Workload: the net APR over lanes, ten arrays in and one out."""

from __future__ import annotations

import numpy as np

from benchmarks import baselines, compiled, models
from benchmarks.setting import Setting, constants, numpy_chunk
from benchmarks.timing import Task

WORK = "value"
BYTES = 4 * (10 + 1)


def tasks(setting: Setting) -> list[Task]:
    """One compiled call over all lanes, the same into old memory, and the baselines."""
    c, chunk, out = constants(), numpy_chunk(), np.empty(setting.baseline_lanes, np.float32)
    found = [
        setting.ours(WORK, "", BYTES, models.swept(models.net)),
        setting.ours(WORK, "output reused", BYTES, models.swept_again(models.net)),
    ]
    return [
        *found,
        setting.theirs(WORK, "NumPy, whole arrays", BYTES, lambda x: baselines.value(x, c)),
        setting.theirs(WORK, "NumPy, in chunks", BYTES, lambda x: baselines.value(x, c, chunk=chunk)),
        setting.theirs(WORK, "Numba, as usual", BYTES, lambda x: compiled.plain_value(x, c, out)),
        setting.theirs(WORK, "Numba, vectorised", BYTES, lambda x: compiled.value(x, c, out)),
    ]
