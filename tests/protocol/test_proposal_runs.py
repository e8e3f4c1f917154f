from __future__ import annotations

import dataclasses
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.protocol import forks, proposal_runs
from tests.oracles import formulas
from tests.oracles.formulas import Bad, Formula

FULU = forks.get("fulu")
SHARE = "in [0, 1]"


# --- What every formula must do: those without a fork are given one that they ignore ---------------------------------


def chance(fork, *, share):
    return proposal_runs.chance_of_run(share=share, run_length=3, slots=20)


def longest(fork, *, share):
    """Mean length of the longest run, as the harness wants one number."""
    distribution = proposal_runs.longest_run_distribution(share=share, slots=7)
    return jnp.sum(jnp.arange(8.0) * distribution)


def runs(fork, *, share, slots):
    return proposal_runs.expected_runs(share=share, run_length=3, slots=slots)


def epochs(fork, *, share):
    return proposal_runs.epochs_with_run_per_year(fork, share=share, run_length=2)


def feller(fork, *, share):
    return proposal_runs.feller_chance_of_run(share=share, run_length=3, slots=20)


BAD_SHARE = (Bad("share", -0.1, SHARE), Bad("share", 1.1, SHARE))
ENDS = ({"share": 0.0}, {"share": 1.0})
FORMULAS = [
    Formula(chance, {"share": 0.3}, set(), BAD_SHARE, kinks=ENDS),
    Formula(longest, {"share": 0.3}, set(), BAD_SHARE, kinks=ENDS),
    Formula(
        runs, {"share": 0.3, "slots": 32.0}, set(), (*BAD_SHARE, Bad("slots", 2.0, "at least 3 and finite")), kinks=ENDS
    ),
    Formula(epochs, {"share": 0.3}, {"slot_duration_ms"}, BAD_SHARE, kinks=ENDS),
    Formula(
        feller,
        {"share": 0.3},
        set(),
        (Bad("share", 0.75, "in [0, 0.75)"), Bad("share", -0.1, "in [0, 0.75)")),
        kinks=({"share": 0.0}, {"share": 0.74}),
    ),
]


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_modes_agree(formula):
    results = formulas.lanes_by_mode(formula)
    for mode in ("jit", "vmap"):
        np.testing.assert_allclose(results[mode], results["eager"], rtol=formulas.ROUNDING, atol=0, err_msg=mode)


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_gradients_reach_every_argument_and_constant(formula, x64):
    found = formulas.elasticities(formula)
    assert set(found) == formulas.expected_dependence(formula)
    assert np.all(np.isfinite(list(found.values())))
    if x64:
        formulas.check_derivatives(dataclasses.replace(formula, function=jax.jit(formula.function)))


@pytest.mark.parametrize(**formulas.kinks(FORMULAS))
def test_gradients_are_finite_at_kinks(formula, kink):
    assert np.all(np.isfinite(formulas.gradient_at(formula, kink)))


@pytest.mark.parametrize(**formulas.bad_inputs(FORMULAS))
def test_bad_inputs(formula, bad):
    for value, message in formulas.messages(bad):
        with pytest.raises(ValueError, match=message):
            formulas.call_with(formula, bad.name, value)
    assert np.all(np.isnan(formulas.traced_value_and_gradient(formula, bad)))


@pytest.mark.parametrize("function", [proposal_runs.chance_of_run, proposal_runs.feller_chance_of_run])
def test_bad_counts(function):
    with pytest.raises(ValueError, match="run_length must be at least 1, got 0"):
        function(share=0.3, run_length=0)
    with pytest.raises(ValueError, match="slots must be at least 1, got -2"):
        function(share=0.3, run_length=1, slots=-2)
    with pytest.raises(ValueError, match="slots must be at least 1, got 0"):
        proposal_runs.longest_run_distribution(share=0.3, slots=0)


# --- The exact law ----------------------------------------------------------------------------------------------------


def longest_run(outcome: tuple[int, ...]) -> int:
    return max((len(list(group)) for own, group in itertools.groupby(outcome) if own), default=0)


def runs_of_at_least(outcome: tuple[int, ...], length: int) -> int:
    return sum(len(list(group)) >= length for own, group in itertools.groupby(outcome) if own)


def enumerated(share: float, slots: int) -> list[tuple[tuple[int, ...], float]]:
    """Every sequence of own and other slots with its probability."""
    return [
        (outcome, share ** sum(outcome) * (1 - share) ** (slots - sum(outcome)))
        for outcome in itertools.product((0, 1), repeat=slots)
    ]


def by_markov_chain(share: float, length: int, slots: int) -> float:
    """States: the current run, 0 to k - 1, and k for ever after; a power of the matrix of one slot."""
    step = np.zeros((length + 1, length + 1))
    step[:-1, 0] = 1 - share
    step[np.arange(length), np.arange(1, length + 1)] = share
    step[-1, -1] = 1.0
    return float(np.linalg.matrix_power(step, slots)[0, -1])


def over(function, shares, **static):
    """A function of the share at several, compiled once."""
    return np.asarray(jax.jit(jax.vmap(lambda p: function(share=p, **static)))(jnp.asarray(shares, float)), float)


@pytest.mark.parametrize("slots", [1, 2, 5, 9])
def test_by_enumeration(slots, tolerance):
    shares = (0.0, 0.03, 0.4, 0.85, 1.0)
    outcomes = [enumerated(share, slots) for share in shares]
    found = over(proposal_runs.longest_run_distribution, shares, slots=slots)
    for law, cases in zip(found, outcomes, strict=True):
        expected = [sum(p for outcome, p in cases if longest_run(outcome) == length) for length in range(slots + 1)]
        np.testing.assert_allclose(law, expected, rtol=10 * tolerance, atol=tolerance)
    for length in sorted({1, 2, slots} - set(range(slots + 1, 3))):
        chance = [sum(p for outcome, p in cases if longest_run(outcome) >= length) for cases in outcomes]
        exact = over(proposal_runs.chance_of_run, shares, run_length=length, slots=slots)
        np.testing.assert_allclose(exact, chance, rtol=10 * tolerance)
        number = [sum(p * runs_of_at_least(outcome, length) for outcome, p in cases) for cases in outcomes]
        count = over(proposal_runs.expected_runs, shares, run_length=length, slots=float(slots))
        np.testing.assert_allclose(count, number, rtol=10 * tolerance)


@pytest.mark.parametrize(("length", "slots"), [(1, 32), (2, 32), (5, 32), (17, 32), (32, 32), (3, 100)])
def test_by_a_markov_chain(length, slots, tolerance):
    shares = (0.001, 0.1, 0.3, 0.6, 0.95)
    found = over(proposal_runs.chance_of_run, shares, run_length=length, slots=slots)
    expected = [by_markov_chain(share, length, slots) for share in shares]
    np.testing.assert_allclose(found, expected, rtol=20 * tolerance, atol=1e-37)  # 1e-96 underflows in single precision


def test_small_chances_keep_their_digits(tolerance):
    """One validator among a million: two in a row in an epoch, 31 p^2 to the order p, though 1 - 3e-11 is 1 - 3e-11."""
    found = float(proposal_runs.chance_of_run(share=1e-6, run_length=2))
    assert found == pytest.approx(31e-12 - 30e-18, rel=5 * tolerance)


def test_limits(tolerance):
    """k = 1 is 1 - (1 - p)^n, k = n is p^n, k > n is 0; no stake never, all of it always."""
    shares = np.asarray([0.0, 1e-5, 0.3, 0.999])
    for slots in (1, 7, 32):
        one = over(proposal_runs.chance_of_run, shares, run_length=1, slots=slots)
        np.testing.assert_allclose(one, -np.expm1(slots * np.log1p(-shares)), rtol=20 * tolerance)
        every = over(proposal_runs.chance_of_run, shares, run_length=slots, slots=slots)
        np.testing.assert_allclose(every, shares**slots, rtol=20 * tolerance, atol=1e-38)
        assert float(proposal_runs.chance_of_run(share=0.3, run_length=slots + 1, slots=slots)) == 0.0
    assert float(proposal_runs.chance_of_run(share=0.0, run_length=2)) == 0.0
    assert float(proposal_runs.chance_of_run(share=1.0, run_length=32)) == 1.0
    assert np.isnan(jax.jit(lambda p: proposal_runs.chance_of_run(share=p, run_length=9, slots=8))(1.5))


def test_orders(tolerance):
    """More stake and more slots raise the chance, a longer run lowers it, and counting runs is no less than one."""
    shares = jnp.linspace(0.0, 1.0, 21)

    def chances(length, slots):
        one = jax.vmap(lambda p: proposal_runs.chance_of_run(share=p, run_length=length, slots=slots))
        return np.asarray(one(shares), float)

    assert np.all(np.diff(chances(3, 32)) >= 0)
    assert np.all(chances(3, 33) >= chances(3, 32) - tolerance)
    assert np.all(chances(4, 32) <= chances(3, 32) + tolerance)
    counts = jax.vmap(lambda p: proposal_runs.expected_runs(share=p, run_length=3))(shares)
    assert np.all(np.asarray(counts, float) >= chances(3, 32) - tolerance)
    whole = jax.vmap(lambda p: jnp.sum(proposal_runs.longest_run_distribution(share=p)))(shares)
    np.testing.assert_allclose(np.asarray(whole, float), 1.0, rtol=40 * tolerance)


def test_gradient_in_closed_form(tolerance):
    """For k = 1 the derivative is n (1 - p)^(n - 1); for n = 3, k = 2 the chance is 2 p^2 - p^3."""
    shares = jnp.asarray([0.0, 0.2, 0.9, 1.0])
    known = np.asarray(shares, float)
    for length, slots, expected in ((1, 5, 5 * (1 - known) ** 4), (2, 3, 4 * known - 3 * known**2)):

        def chance(p, length=length, slots=slots):
            return proposal_runs.chance_of_run(share=p, run_length=length, slots=slots)

        found = jax.jit(jax.vmap(jax.grad(chance)))(shares)
        np.testing.assert_allclose(np.asarray(found, float), expected, rtol=20 * tolerance, atol=5 * tolerance)


def test_year(tolerance):
    """82,181.25 epochs; one percent of the stake has three in a row in 2.4 of them, two in a row in 252."""
    for length, expected in ((2, 251.97), (3, 2.4416)):
        found = float(proposal_runs.epochs_with_run_per_year(FULU, share=0.01, run_length=length))
        assert found == pytest.approx(82_181.25 * by_markov_chain(0.01, length, 32), rel=20 * tolerance)
        assert found == pytest.approx(expected, rel=1e-4)


# --- Feller's estimate, and what was published ------------------------------------------------------------------------


def published_cases(published):
    for share, row in published["multi_block"]["value"].items():
        for name, percent in row.items():
            yield float(share), int(name.removeprefix("k")), percent


def test_published_runs(published, x64):
    """All ten percentages to the four digits printed, which are cut off, not rounded: 2.68148 is printed as 2.6814.

    Rounded as usual, the last digit of five of them would be one higher.
    """
    cut, rounded = 0, 0
    for share, length, percent in published_cases(published):
        found = 100 * float(proposal_runs.feller_chance_of_run(share=share, run_length=length, slots=32))
        if x64:
            assert math.floor(found * 1e4) / 1e4 == pytest.approx(percent, abs=1e-9)
        assert found == pytest.approx(percent, abs=1.05e-4)
        cut, rounded = cut + 1, rounded + (round(found, 4) == percent)
    assert cut == 10
    if x64:
        assert rounded == 5


def test_published_runs_against_the_exact_law(published, x64):
    """Over an epoch Feller's estimate is the law itself, to 1e-14: the published numbers are exact too."""
    for share, length, percent in published_cases(published):
        exact = by_markov_chain(share, length, 32)
        found = float(proposal_runs.feller_chance_of_run(share=share, run_length=length, slots=32))
        assert found == pytest.approx(exact, rel=1e-12 if x64 else 3e-6)
        assert 100 * exact - percent == pytest.approx(5e-5, abs=5e-5)


@pytest.mark.parametrize(
    ("length", "slots", "error"),
    [(2, 2, 0.055), (2, 4, 0.002), (2, 8, 6e-6), (3, 16, 3e-9), (5, 5, 0.03), (5, 8, 1e-4)],
)
def test_feller_errs_where_there_is_no_room(length, slots, error, only_x64):
    """Largest relative error for shares up to 0.4: 5 % at n = k, and it falls by orders as n grows."""
    shares = np.linspace(0.01, 0.4, 40)
    found = jax.vmap(lambda p: proposal_runs.feller_chance_of_run(share=p, run_length=length, slots=slots))(shares)
    exact = np.asarray([by_markov_chain(p, length, slots) for p in shares])
    largest = np.abs(np.asarray(found) / exact - 1).max()
    assert error / 2 < largest < error


def test_feller_limits(tolerance):
    """No stake, no run; for k = 1 the estimate is exact, 1 - (1 - p)^n; tiny shares keep their digits."""
    assert float(proposal_runs.feller_chance_of_run(share=0.0, run_length=2)) == 0.0
    for share in (1e-6, 0.1, 0.4):
        one = float(proposal_runs.feller_chance_of_run(share=share, run_length=1, slots=32))
        assert one == pytest.approx(-math.expm1(32 * math.log1p(-share)), rel=50 * tolerance)
    tiny = float(proposal_runs.feller_chance_of_run(share=1e-5, run_length=2))
    assert tiny == pytest.approx(float(proposal_runs.chance_of_run(share=1e-5, run_length=2)), rel=50 * tolerance)


def test_feller_root_by_numpy(tolerance):
    """The formula as printed, with the root of its polynomial from `numpy.roots`."""
    for share, length in ((0.1, 2), (0.3, 4), (0.6, 5)):
        coefficients = np.zeros(length + 2)
        coefficients[0], coefficients[-2], coefficients[-1] = (1 - share) * share**length, -1.0, 1.0
        roots = np.roots(coefficients)
        real = roots[np.abs(roots.imag) < 1e-9].real
        x = min(root for root in real if root > 1 and abs(root - 1 / share) > 1e-6)
        none = (1 - share * x) / ((length + 1 - length * x) * (1 - share)) / x**33
        found = float(proposal_runs.feller_chance_of_run(share=share, run_length=length, slots=32))
        assert found == pytest.approx(1 - none, rel=1e3 * tolerance)
