"""What the benchmark of luck compares with computes the same law."""

from __future__ import annotations

import jax
import numpy as np
from scipy import stats

from benchmarks import luck
from jaxstake.core import leaves
from jaxstake.economy import risk
from tests.economy.risk_cases import distribution, floats


def _numbers() -> dict[str, float]:
    return {name: float(value) for name, value in leaves.as_dict(risk.income_law(luck.scenario())).items()}


def test_numpy_transforms_to_the_same_distribution(only_x64: None) -> None:
    """It rounds payments to the nearest point where the package splits them, so cells differ a little."""
    law = risk.income_law(luck.scenario())
    found = distribution(law, points=1 << 14, width_eth=16.0)
    mass = luck.numpy_mass(_numbers(), 1 << 14, 16.0 / (1 << 14))
    np.testing.assert_allclose(np.cumsum(mass)[50:], np.cumsum(np.asarray(found.mass))[50:], atol=3e-3)


def test_numpy_and_numba_draw_the_same_years() -> None:
    lanes, numbers = 40_000, _numbers()
    ours = jax.jit(risk.simulate, static_argnames="lanes")(
        jax.tree.map(floats, risk.income_law(luck.scenario())), key=jax.random.key(1), lanes=lanes
    )
    drawn = [np.asarray(ours, np.float64), luck.numpy_years(numbers, lanes, 1)]
    drawn.append(luck.numba_years(luck._tuple(numbers), lanes, 1))
    for years in drawn[1:]:
        assert stats.ks_2samp(*(np.round(x, 6) for x in (drawn[0], years))).pvalue > 1e-3


def test_tasks_of_the_transform_run() -> None:
    for task in [*luck._fine(1 << 10), *luck._sweep(3, 1 << 10)]:
        assert task.by.split(",")[0].split(" ")[0] in {"jaxstake", "NumPy"}
        task.run(0)
