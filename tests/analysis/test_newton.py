"""The damped Newton: bowls, valleys, saddles, walls, and lanes that stop at different steps."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.analysis import calibrate
from jaxstake.analysis.newton import PATIENCE, newton
from jaxstake.core.domain import POSITIVE


@pytest.fixture(scope="module")
def limit(x64: bool) -> float:
    return 1e-8 if x64 else 1e-3


def run(objective: Any, begin: Any, limit: float, steps: int = 100) -> Any:
    return jax.jit(functools.partial(newton, objective, steps=steps, tolerance=limit))(jnp.asarray(begin, float))


def bowl(x: Any) -> Any:
    bend = jnp.asarray([[3.0, 1.0], [1.0, 2.0]])
    away = x - jnp.asarray([0.4, -0.7])
    return 0.5 * away @ bend @ away + 1.5


def rosenbrock(x: Any) -> Any:
    return 100.0 * (x[1] - x[0] ** 2) ** 2 + (1.0 - x[0]) ** 2


def test_a_bowl_takes_a_few_steps(limit: float) -> None:
    """The first step covers all but the damping, a hundredth; the next ones the rest."""
    found = run(bowl, [1.0, 0.0], limit)
    assert bool(found.converged)
    assert int(found.steps) <= 6
    np.testing.assert_allclose(found.free, [0.4, -0.7], atol=1e-7 if limit < 1e-6 else 1e-3)
    above = np.asarray(found.trace[:3]) - 1.5
    assert 0 <= above[1] < 2e-4 * above[0]
    assert float(found.loss) == pytest.approx(1.5, rel=1e-6)


def test_a_long_way_is_cut(limit: float) -> None:
    """A step is at most two units long."""
    ends = [run(bowl, [40.0, 0.0], limit, steps=k).free for k in (1, 2, 3)]
    lengths = [float(jnp.linalg.norm(b - a)) for a, b in itertools.pairwise(ends)]
    assert lengths == pytest.approx([2.0, 2.0], rel=1e-5)
    assert bool(run(bowl, [40.0, 0.0], limit).converged)


def test_rosenbrock(limit: float) -> None:
    found = run(rosenbrock, [-1.2, 1.0], limit)
    assert bool(found.converged)
    np.testing.assert_allclose(found.free, [1.0, 1.0], atol=1e-6 if limit < 1e-6 else 1e-2)
    taken = int(found.steps)
    assert taken < 50
    trace = np.asarray(found.trace)
    assert trace[0] == pytest.approx(24.2, rel=1e-5)
    assert np.all(np.diff(trace[:taken]) <= 0)
    assert np.all(np.isnan(trace[taken:]))


def test_a_saddle_is_left_downwards(limit: float) -> None:
    """Beside the ridge of (x^2 - 1)^2 + y^2 the Hessian has a negative value, and Newton's own step climbs."""
    hill = lambda x: (x[0] ** 2 - 1.0) ** 2 + x[1] ** 2  # noqa: E731
    assert float(jax.hessian(hill)(jnp.asarray([0.1, 1.0]))[0, 0]) < 0
    found = run(hill, [0.1, 1.0], limit)
    assert bool(found.converged)
    np.testing.assert_allclose(found.free, [1.0, 0.0], atol=1e-3)


def test_a_wall_is_not_stepped_over(limit: float) -> None:
    """Newton's step from 0.9 leads past 1, where the loss is not a number."""
    wall = lambda x: -jnp.log(x[0]) - 0.01 * jnp.log(1.0 - x[0])  # noqa: E731
    found = run(wall, [0.05], limit)
    assert bool(found.converged)
    assert float(found.free[0]) == pytest.approx(1 / 1.01, rel=1e-4)
    taken = int(found.steps)
    refused = np.sum(np.diff(np.asarray(found.trace[:taken])) == 0)
    assert refused > 0
    assert np.all(np.isfinite(found.trace[:taken]))


def test_no_loss_at_the_beginning_is_the_end(limit: float) -> None:
    found = run(lambda x: jnp.log(x[0]), [-1.0], limit)
    assert int(found.steps) == 1
    assert not bool(found.converged)
    assert math.isnan(float(found.loss))
    assert math.isinf(float(found.gradient_norm))
    assert np.all(np.isnan(found.trace))


def test_what_only_gets_worse_stops_after_some_patience(limit: float) -> None:
    """A slope that lies: the loss rises whichever way a step goes."""

    @jax.custom_jvp
    def kink(x: Any) -> Any:
        return jnp.abs(x[0])

    kink.defjvp(lambda at, along: (kink(*at), jnp.where(at[0][0] >= 0, 1.0, 1.0) * along[0][0]))
    found = run(kink, [0.0], limit)
    assert not bool(found.converged)
    assert int(found.steps) == PATIENCE + 1
    assert float(found.free[0]) == 0.0


def test_lanes_stop_at_their_own_step(limit: float) -> None:
    begins = jnp.asarray([[1.0, 1.0], [-1.2, 1.0], [0.9, 0.8], [3.0, -4.0]])
    lanes = jax.jit(jax.vmap(functools.partial(newton, rosenbrock, steps=100, tolerance=limit)))(begins)
    assert len({int(x) for x in lanes.steps}) > 2
    assert int(lanes.steps[0]) == 1
    for place, begin in enumerate(begins):
        alone = run(rosenbrock, begin, limit)
        assert bool(lanes.converged[place])
        np.testing.assert_allclose(lanes.free[place], alone.free, rtol=1e-5 if limit < 1e-6 else 1e-2)
        if limit < 1e-6:
            assert int(lanes.steps[place]) == int(alone.steps)


def test_few_steps_do_not_converge(limit: float) -> None:
    found = run(rosenbrock, [-1.2, 1.0], limit, steps=4)
    assert int(found.steps) == 4
    assert not bool(found.converged)
    assert float(found.loss) < 24.2


def test_agrees_with_lbfgs(rng: np.random.Generator, x64: bool) -> None:
    """A Student fit in two parameters, one of them with a bound: minimum and standard errors."""
    data = jnp.asarray(rng.standard_t(4.0, 300) * 1.7 + 0.3, float)

    def loss(at: Any, x: Any) -> Any:
        z2 = ((x - at["loc"]) / at["scale"]) ** 2
        return jnp.mean(jnp.log(at["scale"]) + 2.5 * jnp.log1p(z2 / 4.0))

    both = [
        calibrate.fit(
            loss,
            {"loc": 0.0, "scale": 1.0},
            data,
            key=jax.random.key(7),
            bounds={"scale": POSITIVE},
            restarts=3,
            observations=300,
            optimizer=name,
        )
        for name in ("newton", "lbfgs")
    ]
    close = 1e-5 if x64 else 1e-2
    for name in ("loc", "scale"):
        one, two = (float(found.parameters[name]) for found in both)
        assert one == pytest.approx(two, rel=close)
        errors = [float(found.standard_errors[name]) for found in both]
        assert errors[0] == pytest.approx(errors[1], rel=close)
    assert [int(found.agreeing) for found in both] == [3, 3]
    assert float(jnp.max(both[0].restarts.steps)) < 20
