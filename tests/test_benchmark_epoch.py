"""The benchmark of the exact engine: NumPy gives the same integers, and every row does its work. No timings here."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import epoch
from benchmarks.setting import Setting
from jaxstake.beacon import rules
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays


@pytest.mark.usefixtures("only_x64")
def test_numpy_gives_the_same_integers():
    r, arrays = rules.get(epoch.FORK), epoch.network(3000)
    found = arrays_from_state(epoch.run(r, state_from_arrays(r, arrays)))
    for _ in range(epoch.EPOCHS):
        arrays = epoch.numpy_epoch(r, arrays)
    for name, expected in arrays.items():
        assert np.array_equal(found[name], expected), name
    assert not np.array_equal(found["balances"], epoch.network(3000)["balances"])


def test_every_row_runs():
    for task in epoch.tasks(Setting(lanes=1 << 10, repeat=1)):
        assert task.lanes == 10_000 * epoch.EPOCHS
        task.run(0)
        task.run(1)
