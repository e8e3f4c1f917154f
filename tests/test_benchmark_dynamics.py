"""The benchmark of the dynamics: NumPy computes what the package does, and every row does its work. No timings here."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import dynamics, queue
from benchmarks.setting import Setting
from jaxstake.microstaking import wealth

SIZES = {
    "classes": lambda: wealth.size_classes(wealth.Wealth(), classes=24),
    "stakers": lambda: wealth.sample(wealth.Wealth(), key=jax.random.key(0), holders=300),
}


@pytest.mark.parametrize("kind", SIZES)
def test_numpy_does_the_same_work(x64, kind):
    sizes, many = SIZES[kind](), dynamics.paths(3, 20)
    value, slope = dynamics.value_and_gradient(vectorised=kind == "classes")(dynamics.LEVERS, many, sizes)
    start = dynamics.numpy_start(sizes)
    few = jax.tree.map(np.asarray, many)
    expected, differences = dynamics.numpy_value_and_gradient(dynamics.LEVERS, few, start, step=1e-4 if x64 else 1e-2)
    assert float(value) == pytest.approx(expected, rel=1e-7 if x64 else 1e-4)
    if x64:
        np.testing.assert_allclose([float(x) for x in slope], differences, rtol=2e-2, atol=1e-5)


def test_every_row_runs(monkeypatch):
    monkeypatch.setattr(dynamics, "CLASSES", 8)
    for task in dynamics.tasks(Setting(lanes=1 << 10, repeat=1)):
        found = task.run(0)
        assert np.isfinite(float(jnp.asarray(jax.tree.leaves(found)[0])))


@pytest.mark.usefixtures("only_x64")
def test_the_queue_is_the_same_three_times():
    tasks = queue.tasks(Setting(lanes=1 << 10, repeat=1))[:3]
    ours, *theirs = (np.asarray(task.run(0)) for task in tasks)
    for other in theirs:
        np.testing.assert_array_equal(ours, other)
