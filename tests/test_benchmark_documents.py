"""The workload of the documents: its baselines compute what the package computes, and every row does its work."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import documents
from benchmarks.setting import Setting
from jaxstake.articles.apr_guide import mev, strategy
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.articles.microstaking_analysis.simulation import simulate_from_draws
from tests.oracles import printed_code


@pytest.fixture(autouse=True)
def generator_kept():
    with printed_code.global_generator_kept():
        yield


@pytest.fixture(scope="module")
def printed(shared) -> printed_code.Printed:
    """The guide's own classes, executed from its text."""
    sources = printed_code.statements(printed_code.read(shared / "documents"))
    wanted = ("class MEVRewardModel", "class StakingRewardCalculator", "class StakingOptimizer")
    chosen = {name: [source for source in sources[name] if source.startswith(wanted)] for name in sources}
    return printed_code.run(chosen)


def as_dict(container: Any) -> dict[str, np.ndarray]:
    return {field.name: np.asarray(getattr(container, field.name)) for field in dataclasses.fields(container)}


# Baselines are what is printed.


def test_the_classes_are_the_printed_ones(printed):
    assert documents.MEVRewardModel().mev_distribution(1000) == printed.MEVRewardModel().mev_distribution(1000)
    for stake in (10_000_000, 3.3e7):
        expected = printed.StakingRewardCalculator().calculate_annual_apr(stake)
        assert documents.StakingRewardCalculator().calculate_annual_apr(stake) == expected
    expected = printed.StakingOptimizer(1000).optimize_validator_count()
    assert documents.StakingOptimizer(1000).optimize_validator_count() == expected


def test_the_class_takes_an_array():
    stakes = np.random.default_rng(1).uniform(*documents.STAKES, 50)
    whole = documents.StakingRewardCalculator().calculate_annual_apr(stakes)
    for number, stake in enumerate(stakes.tolist()):
        one = documents.StakingRewardCalculator().calculate_annual_apr(stake)
        assert one == {name: value if np.ndim(value) == 0 else value[number] for name, value in whole.items()}


# Baselines compute what the package computes.


@pytest.mark.parametrize("count", [1, 1000, 300_000])
def test_statistics_of_the_same_draws(count, tolerance):
    np.random.seed(42)  # noqa: NPY002
    draws = jnp.asarray(np.random.normal(0.0, 1.0, count))  # noqa: NPY002
    found = jax.jit(lambda draws: mev.mev_distribution(mev.MevModel(), draws=draws))(draws)
    expected = documents.MEVRewardModel().mev_distribution(count)
    for name, value in as_dict(found).items():
        np.testing.assert_allclose(value, expected[name], rtol=5 * tolerance, atol=5 * tolerance, err_msg=name)


def test_scores_of_the_same_draws(tolerance):
    np.random.seed(3)  # noqa: NPY002
    expected = documents.simulate_security_liquidity(documents.PARAMS, 5000)
    np.random.seed(3)  # noqa: NPY002
    draws = jnp.asarray(np.random.normal(size=5000))  # noqa: NPY002
    found = simulate_from_draws(
        draws=draws,
        **documents.PARAMS,
        calculate_security=lambda stakes: documents.security.entropy(shares=stakes / jnp.sum(stakes)),
        calculate_liquidity=lambda stakes: jnp.max(stakes) / jnp.sum(stakes),
    )
    np.testing.assert_allclose([found.security_score, found.liquidity_score], expected, rtol=10 * tolerance)


def test_draws_are_of_one_law():
    """Other generators: statistics agree within their errors, about 1 % at 40,000 draws."""
    tasks = documents.tasks(Setting(lanes=40_000, repeat=1))
    for start in ("mev_distribution, 40,000", "simulate_security_liquidity, 40,000"):
        results = [as_values(task.run(0)) for task in tasks if task.work.startswith(start)]
        assert len(results) == 3
        for found in results:
            np.testing.assert_allclose(found[:1], results[-1][:1], rtol=0.05)
    statistics = [as_values(task.run(0)) for task in tasks if task.work.startswith("mev_distribution, 40,000")]
    np.testing.assert_allclose(statistics[0][[1, 3, 4]], statistics[-1][[1, 3, 4]], rtol=0.05)


def as_values(result: Any) -> np.ndarray:
    if isinstance(result, mev.MevStatistics):
        result = [getattr(result, field.name) for field in dataclasses.fields(result)]
    return np.asarray([float(value) for value in (result.values() if isinstance(result, dict) else result)])


def test_rates_of_every_stake(tolerance):
    stakes = np.random.default_rng(1).uniform(*documents.STAKES, 500)
    found = as_dict(documents.annual_aprs()(Calculator(), jnp.asarray(stakes)))
    expected = documents.StakingRewardCalculator().calculate_annual_apr(stakes)
    assert found["mev_apr"].shape == found["tips_apr"].shape == ()
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=5 * tolerance, err_msg=name)


def test_rows_of_every_number_of_validators(tolerance):
    found = as_dict(documents.allocations(200)(strategy.Optimizer()))
    rows = documents.StakingOptimizer(200 * 32).optimize_validator_count()
    whole = documents.StakingOptimizer(200 * 32).row(np.arange(1.0, 201.0))
    assert len(rows) == 200
    for name, values in found.items():
        expected = [row[name] for row in rows]
        np.testing.assert_allclose(values, expected, rtol=5 * tolerance, err_msg=name)
        np.testing.assert_array_equal(np.broadcast_to(whole[name], 200), expected, err_msg=name)


# Rows.


def test_every_task_runs_at_a_tiny_size():
    tasks = documents.tasks(Setting(lanes=64, repeat=1))
    assert len({task.work for task in tasks}) == 4
    for task in tasks:
        assert task.by.split(",")[0] in {"jaxstake", "NumPy", "Python"}
        assert task.lanes == 64
        task.run(0)
        task.run(7)


def test_rows_name_their_precision():
    for task in documents.tasks(Setting(lanes=32, repeat=1)):
        if task.by.startswith("jaxstake"):
            found = jax.tree.leaves(task.run(0))
            varying = [leaf for leaf in found if leaf.ndim == max(other.ndim for other in found)]
            wanted = "float64" if task.by == "jaxstake, double precision" else "float32"
            assert {str(leaf.dtype) for leaf in varying} == {wanted}


def test_both_sizes_in_a_full_run():
    small = documents.tasks(Setting(lanes=20_000, repeat=1))
    assert {task.lanes for task in small} == {10_000, 20_000}
    assert documents.MANY == 10_000_000
    assert "documents" in command.WORKLOADS
