from __future__ import annotations

import csv
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import stats

from jaxstake.microstaking import concentration as c

MEASURES = [
    c.entropy_nats,
    c.entropy_bits,
    c.normalised_entropy,
    c.herfindahl,
    c.effective_number,
    c.gini,
    c.nakamoto,
    c.nakamoto_interpolated,
]
SMOOTH = [measure for measure in MEASURES if measure is not c.nakamoto]
STAKES = np.array([7.0, 1.5, 40.0, 3.0, 22.0, 9.0, 2.0])
by_name = {"argnames": "measure", "ids": lambda measure: measure.__name__}
FEW = settings(max_examples=25, deadline=None)


def stakes_of(least: int = 1):
    return st.lists(st.floats(2**-6, 1e6, width=32), min_size=least, max_size=8).map(np.array)


def numpy_gini(x: np.ndarray) -> float:
    """Mean absolute difference over twice the mean."""
    return float(np.abs(x[:, None] - x[None, :]).mean() / (2.0 * x.mean()))


def brute_nakamoto(x: np.ndarray, theta: float) -> int:
    """Take the largest until they reach theta."""
    held = 0.0
    for number, stake in enumerate(sorted(x, reverse=True), 1):
        held += stake
        if held >= theta * x.sum() * (1 - 1e-9):
            return number
    raise AssertionError


def read(path: Path) -> list[dict[str, str]]:
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def owners(shared):
    """Stakes, counts and whether the row is the bucket of unclassified owners."""
    named = read(shared / "data" / "stake_by_owner_2025-10-21.csv")
    tail = read(shared / "data" / "stake_by_owner_tail_2025-10-21.csv")
    stakes = [float(row["effective_balance_eth"]) for row in named + tail]
    counts = [1.0] * len(named) + [float(row["owners"]) for row in tail]
    unknown = [row["owner"] == "unknown" for row in named] + [False] * len(tail)
    return np.array(stakes), np.array(counts), np.array(unknown)


# --- Oracles --------------------------------------------------------------------------------------------------------


def test_against_numpy_and_scipy(tolerance):
    p = STAKES / STAKES.sum()
    expected = {
        c.entropy_nats: stats.entropy(p),
        c.entropy_bits: stats.entropy(p, base=2),
        c.normalised_entropy: stats.entropy(p) / math.log(7),
        c.herfindahl: (p**2).sum(),
        c.effective_number: 1 / (p**2).sum(),
        c.gini: numpy_gini(STAKES),
        c.nakamoto: 1.0,
        c.nakamoto_interpolated: (1 / 3) / p.max(),
    }
    for measure, value in expected.items():
        np.testing.assert_allclose(measure(STAKES), value, rtol=tolerance, err_msg=measure.__name__)


def test_worked_by_hand(tolerance):
    stakes = jnp.array([4.0, 3.0, 2.0, 1.0])
    for theta, hard, smooth in (
        (1 / 3, 1, 5 / 6),
        (0.5, 2, 1 + 1 / 3),
        (2 / 3, 2, 1 + 8 / 9),
        (0.8, 3, 2.5),
        (1.0, 4, 4),
    ):
        assert float(c.nakamoto(stakes, theta=theta)) == hard
        np.testing.assert_allclose(c.nakamoto_interpolated(stakes, theta=theta), smooth, rtol=tolerance)


@pytest.mark.parametrize(
    ("drop", "index", "nats", "third", "half"),
    [(False, 0.0727, 5.423, 3, 13), (True, 0.0778, 5.646, 2, 25)],
    ids=["all", "without-unknown"],
)
def test_owners_of_mainnet(owners, drop, index, nats, third, half):
    """The figures that the description of the data states."""
    stakes, counts, unknown = owners
    keep = ~(unknown & drop)
    stakes, counts = stakes[keep], counts[keep]
    assert counts.sum() == 47_652 - drop
    assert round(float(c.herfindahl(stakes, counts)), 4) == index
    assert round(float(c.entropy_nats(stakes, counts)), 3) == nats
    assert float(c.nakamoto(stakes, counts, theta=1 / 3)) == third
    assert float(c.nakamoto(stakes, counts, theta=1 / 2)) == half


def test_gini_of_mainnet(owners, x64):
    stakes, counts, _ = owners
    single = np.sort(np.repeat(stakes / counts, counts.astype(int)))
    ranks = np.arange(1, len(single) + 1)
    expected = (2 * ranks - len(single) - 1) @ single / (len(single) * single.sum())
    np.testing.assert_allclose(c.gini(stakes, counts), expected, rtol=1e-10 if x64 else 1e-5)


# --- Limits and invariances -----------------------------------------------------------------------------------------


def test_one_operator(tolerance):
    stakes = jnp.array([5.0])
    expected = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1 / 3]
    np.testing.assert_allclose([float(measure(stakes)) for measure in MEASURES], expected, rtol=tolerance, atol=1e-7)


@pytest.mark.parametrize("n", [2, 9, 30])
def test_equal_operators(n, tolerance):
    stakes = jnp.full(n, 32.0)
    expected = [math.log(n), math.log2(n), 1.0, 1 / n, n, 0.0, math.ceil(n / 3), n / 3]
    np.testing.assert_allclose([float(m(stakes)) for m in MEASURES], expected, rtol=10 * tolerance, atol=3e-6)


def test_a_whale(x64):
    stakes = jnp.array([1e12, 1.0, 1.0, 1.0])
    expected = [0.0, 0.0, 0.0, 1.0, 1.0, 0.75, 1.0, 1 / 3]
    np.testing.assert_allclose([float(m(stakes)) for m in MEASURES], expected, atol=1e-9 if x64 else 1e-6)


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_operators_without_stake_do_not_count(measure, tolerance):
    padded = np.concatenate([[0.0], STAKES, [0.0, 0.0]])
    np.testing.assert_allclose(measure(padded), measure(STAKES), rtol=tolerance)
    gradient = jax.grad(measure)(jnp.asarray(padded))
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_unit_and_order_do_not_matter(measure, rng, tolerance):
    shuffled = 1e9 * rng.permutation(STAKES)
    np.testing.assert_allclose(measure(shuffled), measure(STAKES), rtol=10 * tolerance)


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_a_group_is_its_members(measure, tolerance):
    single = np.array([7.0, 7.0, 7.0, 40.0, 1.0, 1.0])
    grouped = measure(np.array([40.0, 2.0, 21.0]), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(grouped, measure(single), rtol=10 * tolerance)


# --- Properties -----------------------------------------------------------------------------------------------------


@FEW
@given(stakes=stakes_of())
def test_ranges(stakes):
    n, slack = len(stakes), 1e-5
    assert -slack <= float(c.entropy_nats(stakes)) <= math.log(n) + slack
    assert 1 / n - slack <= float(c.herfindahl(stakes)) <= 1 + slack
    assert -slack <= float(c.gini(stakes)) <= 1 - 1 / n + slack
    assert -slack <= float(c.normalised_entropy(stakes)) <= 1 + slack


@FEW
@given(stakes=stakes_of(), low=st.floats(0.01, 1.0), high=st.floats(0.01, 1.0))
def test_nakamoto_grows_with_theta_and_is_the_ceiling(stakes, low, high):
    low, high = sorted((low, high))
    assert float(c.nakamoto(stakes, theta=low)) <= float(c.nakamoto(stakes, theta=high))
    smooth, hard = float(c.nakamoto_interpolated(stakes, theta=high)), float(c.nakamoto(stakes, theta=high))
    assert hard - 1 - 1e-4 <= smooth <= hard + 1e-4 * hard
    assert 0 < smooth <= len(stakes) * (1 + 1e-5)


@FEW
@given(stakes=stakes_of(2), theta=st.sampled_from([1 / 3, 1 / 2, 2 / 3, 0.9]))
def test_nakamoto_by_brute_force(stakes, theta):
    edge = np.cumsum(np.sort(stakes)[::-1]) / stakes.sum()
    if np.min(np.abs(edge - theta)) > 1e-4:
        assert float(c.nakamoto(stakes, theta=theta)) == brute_nakamoto(stakes, theta)


@FEW
@given(stakes=stakes_of(2))
def test_merging_concentrates(stakes):
    merged = np.concatenate([[stakes[0] + stakes[1]], stakes[2:]])
    assert float(c.entropy_nats(merged)) <= float(c.entropy_nats(stakes)) + 1e-5
    assert float(c.herfindahl(merged)) >= float(c.herfindahl(stakes)) - 1e-6
    assert float(c.nakamoto(merged)) <= float(c.nakamoto(stakes))


# --- Modes, gradients, bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_modes_agree(measure, tolerance):
    batch = jnp.stack([jnp.asarray(STAKES) * scale + shift for scale, shift in ((1.0, 0.0), (2.0, 5.0), (0.1, 9.0))])
    eager = [float(measure(row)) for row in batch]
    np.testing.assert_allclose([float(jax.jit(measure)(row)) for row in batch], eager, rtol=10 * tolerance)
    np.testing.assert_allclose(jax.jit(jax.vmap(measure))(batch), eager, rtol=10 * tolerance)


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize(argvalues=SMOOTH, **by_name)
def test_gradients(measure):
    counts = jnp.linspace(1.0, 3.0, len(STAKES))
    check_grads(lambda w, n: measure(w / 10.0, n), (jnp.asarray(STAKES), counts), order=2, atol=1e-5, rtol=1e-5)


@pytest.mark.usefixtures("only_x64")
def test_gradient_in_theta():
    stakes = jnp.asarray(STAKES)
    check_grads(lambda theta: c.nakamoto_interpolated(stakes, theta=theta), (0.6,), order=1, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_bad_stakes(measure):
    with pytest.raises(ValueError, match=r"stakes must be at least 0 and finite, got -1\.0"):
        measure(jnp.array([1.0, -1.0]))
    with pytest.raises(ValueError, match=r"stakes must have a positive sum, got 0\.0"):
        measure(jnp.array([0.0, 0.0]))
    with pytest.raises(ValueError, match=r"stakes must be a vector \[O\], got shape \(\)"):
        measure(jnp.array(1.0))
    with pytest.raises(ValueError, match=r"counts must be greater than 0 and finite, got 0\.0"):
        measure(jnp.array([1.0, 2.0]), jnp.array([1.0, 0.0]))
    with pytest.raises(ValueError, match=r"counts must have the shape of stakes \(2,\), got shape \(1,\)"):
        measure(jnp.array([1.0, 2.0]), jnp.array([1.0]))


@pytest.mark.parametrize(argvalues=MEASURES, **by_name)
def test_traced_bad_stakes_are_nan(measure):
    for bad in ([1.0, -1.0, 3.0], [0.0, 0.0, 0.0], [1.0, math.nan, 3.0]):
        value, gradient = jax.jit(jax.value_and_grad(measure))(jnp.array(bad))
        assert np.isnan(value)
        if measure is not c.nakamoto:
            assert np.all(np.isnan(gradient))


def test_bad_theta():
    for theta in (0.0, 1.5):
        with pytest.raises(ValueError, match=rf"theta must be in \(0, 1\], got {theta}"):
            c.nakamoto(jnp.array([1.0]), theta=theta)
    assert np.isnan(jax.jit(lambda theta: c.nakamoto(jnp.array([1.0]), theta=theta))(1.5))
