from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import special, stats

from jaxstake.core import leaves
from jaxstake.protocol import duties, forks, issuance, rewards
from jaxstake.protocol.duties import Moments
from tests.oracles import formulas
from tests.oracles.formulas import Bad, Formula

FULU = forks.get("fulu")
YEAR = 2_629_800  # slots in 365.25 days
PERIODS = YEAR / 32 / 256
POSITIVE, NON_NEGATIVE, SHARE, PROPER = "greater than 0 and finite", "at least 0 and finite", "in [0, 1]", "in [0, 1)"


# --- What every formula must do: those without a fork are given one that they ignore ---------------------------------


def share(fork, **arguments):
    return duties.proposal_probability(**arguments)


def chances(fork, **arguments):
    """Two of the probabilities, so that the total is not simply 1."""
    return duties.proposal_distribution(**arguments, max_proposals=12)[3:5]


def payments(fork, **arguments):
    return duties.binomial_income(**arguments)


def shape(fork, *, moments):
    return duties.standard_deviation(moments), duties.skewness(moments)


def scaled(fork, *, moments, factor):
    return duties.scale_moments(moments, factor=factor)


def sum_of(formula_function):
    """Vectors summed, as the harness adds up numbers."""

    def function(fork, **arguments):
        return jax.tree.map(jnp.sum, formula_function(fork, **arguments))

    function.__name__ = formula_function.__name__
    return function


STAKE = {"effective_balance_eth": 32.0, "total_stake_eth": 3.4e7}
BAD_STAKE = (
    Bad("effective_balance_eth", -32.0, NON_NEGATIVE),
    Bad("total_stake_eth", 0.0, POSITIVE),
    Bad("effective_balance_eth", 4e7, "at most total_stake_eth = 34000000.0", relational=True),
)
PAYMENT = Moments(mean=0.05, variance=0.04, third_central=0.03)
SYNC = {"sync_committee_size"}
YEARLY = {"slots_per_epoch", "slot_duration_ms", "epochs_per_sync_committee_period"}

FORMULAS = [
    Formula(share, STAKE, set(), BAD_STAKE, kinks=({"effective_balance_eth": 0.0}, {"effective_balance_eth": 3.4e7})),
    Formula(
        sum_of(chances),
        {"slots": 300.0, "probability": 0.01},
        set(),
        (Bad("slots", -1.0, NON_NEGATIVE), Bad("probability", 1.0, PROPER), Bad("probability", -0.1, PROPER)),
        kinks=({"probability": 0.0}, {"slots": 0.0}, {"slots": 3.0}, {"slots": 0.0, "probability": 0.0}),
    ),
    Formula(
        payments,
        {"trials": 300.0, "probability": 0.2, "amount": PAYMENT},
        set(),
        (
            Bad("trials", -1.0, NON_NEGATIVE),
            Bad("probability", 1.5, SHARE),
            Bad("amount.variance", -1e-3, NON_NEGATIVE),
        ),
        kinks=({"probability": 0.0, "amount.variance": 0.0}, {"probability": 1.0}, {"trials": 0.0}),
    ),
    Formula(shape, {"moments": PAYMENT}, set(), kinks=({"moments.variance": 0.0},)),
    Formula(scaled, {"moments": PAYMENT, "factor": 3.0}, set(), kinks=({"factor": 0.0},)),
    Formula(duties.sync_committee_periods_per_year, {}, YEARLY),
    Formula(duties.expected_sync_seats, STAKE, SYNC, BAD_STAKE, kinks=({"effective_balance_eth": 0.0},)),
    Formula(
        duties.sync_seat_probability,
        STAKE,
        SYNC,
        BAD_STAKE,
        kinks=({"total_stake_eth": 512 * 32.0}, {"effective_balance_eth": 0.0}, {"effective_balance_eth": 3.4e7}),
    ),
    Formula(
        duties.expected_years_between_sync_duties,
        STAKE,
        SYNC | YEARLY,
        (Bad("effective_balance_eth", 0.0, POSITIVE), *BAD_STAKE[1:]),
    ),
    Formula(
        duties.yearly_income_moments,
        {**STAKE, "validators": 5.0, "steady_eth": 0.7, "proposal": PAYMENT, "sync_period_eth": 0.13},
        SYNC | YEARLY,
        (
            Bad("validators", 0.5, "at least 1 and finite"),
            Bad("effective_balance_eth", -32.0, NON_NEGATIVE),
            Bad("total_stake_eth", -1.0, POSITIVE),
            Bad("proposal.variance", -1.0, NON_NEGATIVE),
        ),
        kinks=({"proposal.variance": 0.0, "proposal.third_central": 0.0}, {"effective_balance_eth": 0.0}),
    ),
]
UNUSED = {"shape": {"moments.mean"}}


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_modes_agree(formula):
    results = formulas.lanes_by_mode(formula)
    for mode in ("jit", "vmap"):
        np.testing.assert_allclose(results[mode], results["eager"], rtol=formulas.ROUNDING, atol=0, err_msg=mode)


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_gradients_reach_every_argument_and_constant(formula, x64):
    found = formulas.elasticities(formula)
    assert set(found) == formulas.expected_dependence(formula) - UNUSED.get(formula.name, set())
    assert np.all(np.isfinite(list(found.values())))
    if x64 and formula.name != "chances":  # its derivatives have closed forms, below
        formulas.check_derivatives(formula)


@pytest.mark.parametrize(**formulas.kinks(FORMULAS))
def test_gradients_are_finite_at_kinks(formula, kink):
    assert np.all(np.isfinite(formulas.gradient_at(formula, kink)))


@pytest.mark.parametrize(**formulas.bad_inputs(FORMULAS))
def test_bad_inputs(formula, bad):
    for value, message in formulas.messages(bad):
        with pytest.raises(ValueError, match=message):
            formulas.call_with(formula, bad.name, value)
    assert np.all(np.isnan(formulas.traced_value_and_gradient(formula, bad)))


@pytest.mark.parametrize("name", ["expected_sync_seats", "sync_seat_probability", "expected_years_between_sync_duties"])
def test_phase0_has_no_sync_committee(name):
    with pytest.raises(ValueError, match="this fork does not define"):
        getattr(duties, name)(forks.get("phase0"), **STAKE)


# --- The number of proposals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("slots", "probability", "largest", "accuracy"),
    [
        (YEAR, 1 / 1_000_000, 30, 3e-6),
        (2_629_746, 1 / 500_000, 40, 4e-6),
        (2_629_746, 1 / 50_000, 110, 1.5e-5),
        (YEAR, 1 / 10_000, 400, 6e-5),
        (10, 0.5, 10, 1e-6),
        (1, 0.25, 3, 1e-6),
    ],
)
def test_proposal_distribution_against_scipy(slots, probability, largest, accuracy, x64):
    """`scipy.stats.binom.pmf`, relative, wherever it exceeds 1e-12.

    Single precision: the first term is `exp(-n p)` with a relative error of `n p` roundings (2^-24 each: 3e-7 at the
    five proposals of a validator-year, 1.6e-5 at 263), and each of the k ratios adds about one; the stated
    accuracy is that with a margin of about three. Double precision is 2^-29 of it.
    """
    count = np.arange(largest + 1)
    found = duties.proposal_distribution(slots=float(slots), probability=probability, max_proposals=largest)
    assert found.shape == (largest + 1,)
    expected = stats.binom.pmf(count, slots, probability)
    relevant = expected > 1e-12
    rtol = max(accuracy * 2.0**-29, 1e-12) if x64 else accuracy
    np.testing.assert_allclose(np.asarray(found, float)[relevant], expected[relevant], rtol=rtol)
    assert np.all(np.asarray(found)[expected == 0.0] == 0.0)


def test_proposal_distribution_in_single_precision_whatever_the_mode():
    """float32 in, float32 out, also while double precision is on, as accurate as where it is off."""
    found = duties.proposal_distribution(slots=jnp.float32(2_629_746), probability=jnp.float32(2e-6), max_proposals=40)
    assert found.dtype == jnp.float32
    expected = stats.binom.pmf(np.arange(41), 2_629_746, float(np.float32(2e-6)))
    relevant = expected > 1e-12
    np.testing.assert_allclose(np.asarray(found)[relevant], expected[relevant], rtol=4e-6)


def test_proposal_distribution_of_a_large_operator(x64):
    """One percent of the stake, 26,298 proposals expected: 1e-11 in double precision, 1e-2 in single."""
    largest = 27_500
    found = duties.proposal_distribution(slots=float(YEAR), probability=0.01, max_proposals=largest)
    expected = stats.binom.pmf(np.arange(largest + 1), YEAR, 0.01)
    relevant = expected > 1e-12
    np.testing.assert_allclose(np.asarray(found, float)[relevant], expected[relevant], rtol=1e-10 if x64 else 0.025)


def test_distribution_limits(tolerance):
    """No slots or no chance: surely none. More than all slots: impossible. A whole distribution adds up to 1."""
    for arguments in ({"slots": 0.0, "probability": 0.3}, {"slots": 9.0, "probability": 0.0}):
        assert duties.proposal_distribution(**arguments, max_proposals=4).tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    assert duties.proposal_distribution(slots=2, probability=0.5, max_proposals=5).tolist()[3:] == [0.0, 0.0, 0.0]
    one = duties.proposal_distribution(slots=4.0, probability=0.25, max_proposals=0)
    np.testing.assert_allclose(np.asarray(one), [0.75**4], rtol=10 * tolerance)
    whole = duties.proposal_distribution(slots=50.0, probability=0.3, max_proposals=50)
    np.testing.assert_allclose(float(whole.sum()), 1.0, rtol=100 * tolerance)
    # Poisson: many slots, little chance; the distance is below n p^2 (Le Cam) = 4e-6.
    rare = duties.proposal_distribution(slots=4e6, probability=1e-6, max_proposals=30)
    poisson = stats.poisson.pmf(np.arange(31), 4.0)
    assert np.abs(np.asarray(rare, float) - poisson).sum() < 4e-6 + 100 * tolerance


def test_distribution_gradients(only_x64):
    """In p, `n (P_{n-1}(k-1) - P_{n-1}(k))`, and its own difference again; in n, by digamma and the power of 1 - p.

    At p = 0, where only P(0) and P(1) change, the first derivatives hold and the second are not promised.
    """

    def at(p, n):
        return duties.proposal_distribution(slots=n, probability=p, max_proposals=6)

    forward, backward = jax.jit(jax.jacfwd(at, argnums=(0, 1))), jax.jit(jax.jacrev(at, argnums=(0, 1)))
    second = jax.jit(jax.jacfwd(jax.jacrev(at)))
    count = np.arange(7)
    for p in (0.0, 0.05, 0.4):
        by_p, by_n = forward(p, 20.0)
        shorter = stats.binom.pmf(np.arange(-1, 7), 19, p)
        np.testing.assert_allclose(by_p, 20 * -np.diff(shorter), rtol=1e-11, atol=1e-12)
        np.testing.assert_allclose(np.asarray(backward(p, 20.0)), np.asarray([by_p, by_n]), rtol=1e-12, atol=1e-13)
        if p > 0:
            changing = special.digamma(21) - special.digamma(21 - count) + math.log1p(-p)
            np.testing.assert_allclose(by_n, stats.binom.pmf(count, 20, p) * changing, rtol=1e-11, atol=1e-13)
            shortest = stats.binom.pmf(np.arange(-2, 7), 18, p)
            np.testing.assert_allclose(second(p, 20.0), 20 * 19 * np.diff(shortest, 2), rtol=1e-10, atol=1e-10)


def test_bad_lanes_are_nan_in_value_and_gradient():
    def at(n, p):
        return duties.proposal_distribution(slots=n, probability=p, max_proposals=4)

    slots = jnp.asarray([10.0, -1.0, 10.0, 10.0, jnp.nan, jnp.nan])
    probability = jnp.asarray([0.1, 0.1, 1.0, -0.1, 0.1, 0.0])
    values = jax.jit(jax.vmap(at))(slots, probability)
    by_slots, by_probability = jax.jit(jax.vmap(jax.jacobian(at, argnums=(0, 1))))(slots, probability)
    values, by_slots, by_probability = (np.asarray(array) for array in (values, by_slots, by_probability))
    assert np.all(np.isfinite([values[0], by_slots[0], by_probability[0]]))
    assert np.all(np.isnan(values[1:]))
    assert np.all(np.isnan(by_slots[[1, 4, 5]]))
    assert np.all(np.isnan(by_probability[2:4]))


def test_largest_count_is_checked():
    with pytest.raises(ValueError, match="max_proposals must be at least 0, got -1"):
        duties.proposal_distribution(slots=1.0, probability=0.5, max_proposals=-1)


@pytest.mark.parametrize("validators", [50_000, 100_000, 200_000, 300_000, 400_000, 500_000])
def test_published_percentiles_of_proposals(published, validators):
    """flashbots/eth2-research, eth2-mev-calc.ipynb: 1 %, median, 99 % of a year of 31,556,952 s, in any precision."""
    found = [
        int(
            duties.proposal_quantile(level=level, slots=31_556_952 // 12, probability=1 / validators, max_proposals=100)
        )
        for level in (0.01, 0.5, 0.99)
    ]
    assert found == published["proposals_percentiles"]["value"][str(validators)]


@settings(max_examples=40, deadline=None)
@given(
    slots=st.integers(1, 3_000_000),
    mean=st.floats(0.01, 40.0),
    level=st.floats(0.001, 0.999),
)
def test_quantile_against_scipy(slots, mean, level):
    """Equal to `scipy.stats.binom.ppf`, unless the level is within rounding of a step of the distribution."""
    probability = min(mean / slots, 0.9)
    found = int(QUANTILE(level, float(slots), probability))
    allowed = stats.binom.ppf([level - 2e-5, level, level + 2e-5], slots, probability)
    assert allowed[0] <= found <= allowed[2]
    assert found in allowed


QUANTILE = jax.jit(
    lambda level, slots, probability: duties.proposal_quantile(
        level=level, slots=slots, probability=probability, max_proposals=150
    )
)


def test_quantile_limits():
    def at(level, largest=10):
        return float(duties.proposal_quantile(level=level, slots=5.0, probability=0.5, max_proposals=largest))

    assert [at(0.0), at(1 / 32), at(1 / 32 + 1e-6), at(0.5), at(0.999)] == [0.0, 0.0, 1.0, 2.0, 5.0]
    assert at(0.999, largest=2) == 3.0  # "above": one more than the largest count looked at
    lanes = jax.vmap(lambda level: QUANTILE(level, 5.0, 0.5))(jnp.asarray([0.5, -0.1, 1.1, jnp.nan]))
    assert np.array_equal(np.isnan(lanes), [False, True, True, True])
    assert np.isnan(jax.jit(jax.grad(lambda level: QUANTILE(level, 5.0, 0.5)))(1.1))
    assert np.isnan(QUANTILE(0.5, 5.0, 1.5))
    with pytest.raises(ValueError, match=r"level must be in \[0, 1\], got 1.1"):
        duties.proposal_quantile(level=1.1, slots=5.0, probability=0.5, max_proposals=9)


# --- Moments --------------------------------------------------------------------------------------------------------


def moments_of(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean, variance and third central moment of a discrete distribution."""
    mean = np.sum(values * weights)
    return np.asarray([mean, *(np.sum(weights * (values - mean) ** power) for power in (2, 3))])


def numbers(moments: Moments) -> np.ndarray:
    return np.asarray(jax.tree.leaves(moments), float)


def payment_moments(values: np.ndarray, weights: np.ndarray) -> Moments:
    mean, variance, third = (float(x) for x in moments_of(values, weights))
    return Moments(mean=mean, variance=variance, third_central=third)


@pytest.mark.parametrize("probability", [0.0, 0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("trials", [0, 1, 4])
def test_compound_binomial_by_enumeration(trials, probability, tolerance):
    """Every sequence of payments 0, 0.02, 0.1 and 1.5 over up to four slots: 256 outcomes with their chances."""
    amounts, weights = np.asarray([0.02, 0.1, 1.5]), np.asarray([0.6, 0.3, 0.1])
    outcomes = np.asarray([0.0, *amounts])
    chance = np.asarray([1 - probability, *(probability * weights)])
    paths = list(itertools.product(range(4), repeat=trials))
    totals = np.asarray([sum(outcomes[i] for i in path) for path in paths])
    probabilities = np.asarray([math.prod(chance[i] for i in path) for path in paths])
    found = duties.binomial_income(
        trials=float(trials), probability=probability, amount=payment_moments(amounts, weights)
    )
    np.testing.assert_allclose(numbers(found), moments_of(totals, probabilities), rtol=50 * tolerance, atol=tolerance)


@pytest.mark.parametrize(("trials", "probability"), [(YEAR, 1 / 500_000), (321, 0.001), (40, 0.7)])
def test_moments_of_a_fixed_payment_are_the_binomial_ones(trials, probability, tolerance):
    """`scipy.stats.binom.stats`, scaled; a payment that is not random."""
    mean, variance, skew = (float(x) for x in stats.binom.stats(trials, probability, moments="mvs"))
    fixed = Moments(mean=0.03, variance=0.0)
    found = duties.binomial_income(trials=float(trials), probability=probability, amount=fixed)
    np.testing.assert_allclose(
        [float(found.mean), float(found.variance)], [0.03 * mean, 0.03**2 * variance], rtol=10 * tolerance
    )
    assert float(duties.standard_deviation(found)) == pytest.approx(0.03 * math.sqrt(variance), rel=10 * tolerance)
    assert float(duties.skewness(found)) == pytest.approx(skew, rel=50 * tolerance)


def test_skewness_of_known_distributions(tolerance):
    """Exponential 2; Bernoulli (1-2p)/sqrt(pq), of either sign; scale changes nothing but the sign."""
    exponential = Moments(mean=1.0, variance=1.0, third_central=2.0)
    assert float(duties.skewness(exponential)) == pytest.approx(2.0, rel=tolerance)
    for factor in (0.1, 7.0, -3.0):
        again = duties.scale_moments(exponential, factor=factor)
        assert float(duties.skewness(again)) == pytest.approx(math.copysign(2.0, factor), rel=10 * tolerance)
    for p in (0.1, 0.5, 0.8):
        coin = duties.binomial_income(trials=1.0, probability=p, amount=Moments(mean=1.0, variance=0.0))
        expected = (1 - 2 * p) / math.sqrt(p * (1 - p))
        assert float(duties.skewness(coin)) == pytest.approx(expected, rel=10 * tolerance, abs=10 * tolerance)
    still = Moments(mean=3.0, variance=0.0)
    assert float(duties.skewness(still)) == 0.0
    assert float(duties.standard_deviation(still)) == 0.0
    assert np.isnan(duties.skewness(Moments(mean=1.0, variance=0.0, third_central=jnp.nan)))


amounts = st.builds(
    Moments, mean=st.floats(-2.0, 2.0), variance=st.floats(0.0, 4.0), third_central=st.floats(-8.0, 8.0)
)


@settings(max_examples=60, deadline=None)
@given(
    trials=st.integers(0, 10**6),
    more=st.integers(0, 10**6),
    probability=st.floats(0.0, 1.0),
    amount=amounts,
    factor=st.floats(-3.0, 3.0),
)
def test_moments_add_up_and_scale(trials, more, probability, amount, factor, tolerance):
    """Cumulants: n + m slots are n slots and m independent others; a payment times c is the income times c."""

    def income(n, paid):
        return duties.binomial_income(trials=float(n), probability=probability, amount=paid)

    together = numbers(income(trials + more, amount))
    apart = numbers(duties.add_moments(income(trials, amount), income(more, amount)))
    size = 10 * tolerance * (trials + more + 1)
    np.testing.assert_allclose(apart, together, rtol=10 * tolerance, atol=size * 100)
    paid_more = numbers(income(trials, duties.scale_moments(amount, factor=factor)))
    np.testing.assert_allclose(
        paid_more, numbers(duties.scale_moments(income(trials, amount), factor=factor)), rtol=10 * tolerance,
        atol=size * 1e4,
    )  # fmt: skip
    assert together[1] >= 0.0


@settings(max_examples=60, deadline=None)
@given(probability=st.floats(0.0, 1.0), amount=amounts)
def test_one_chance_is_a_mixture(probability, amount, tolerance):
    """n = 1, by raw moments: E X^k = p E A^k."""
    m, v, t = amount.mean, amount.variance, amount.third_central
    raw = [probability * m, probability * (v + m**2), probability * (t + 3 * m * v + m**3)]
    central = [raw[0], raw[1] - raw[0] ** 2, raw[2] - 3 * raw[0] * raw[1] + 2 * raw[0] ** 3]
    found = duties.binomial_income(trials=1.0, probability=probability, amount=amount)
    np.testing.assert_allclose(numbers(found), central, rtol=0, atol=300 * tolerance)


def test_variance_never_falls_below_zero_by_cancellation():
    """A payment that is certain and fixed has no spread, exactly, whatever its size: no difference of large squares."""
    found = duties.binomial_income(trials=1e6, probability=1.0, amount=Moments(mean=0.1 + 0.2, variance=0.0))
    assert float(found.variance) == 0.0
    assert float(found.third_central) == 0.0


# --- Sync committees ------------------------------------------------------------------------------------------------


def test_published_interval_of_sync_duties(published, tolerance):
    """Upgrading Ethereum: chance 512/500,000, periods of 27.3 hours, so a duty every 37 months or so."""
    text = published["sync_interval_500k"]["value"]
    stake = {"effective_balance_eth": 32.0, "total_stake_eth": 32.0 * 500_000}
    assert "512/500000" in text
    assert "27.3 h" in text
    chance = duties.sync_seat_probability(FULU, **stake)
    np.testing.assert_allclose(float(chance), 512 / 500_000, rtol=tolerance)
    hours = forks.seconds_per_epoch(FULU) * FULU.epochs_per_sync_committee_period / 3600
    assert round(hours, 1) == 27.3
    months = 12 * float(duties.expected_years_between_sync_duties(FULU, **stake))
    assert months == pytest.approx(12 * 500_000 / 512 * 256 * 384 / 31_557_600, rel=10 * tolerance)
    assert months == pytest.approx(37, abs=0.6)
    assert "37 months" in text


def test_seats_and_their_chance(tolerance):
    """One pass over the set gives a validator one seat or none: the chance caps at 1, the expectation does not.

    In a set of 512 validators everyone serves; with balances of 32 and 2,048 ETH the seats go by balance.
    """
    total = 512 * 32.0

    def both(balance, stake):
        arguments = {"effective_balance_eth": balance, "total_stake_eth": stake}
        return float(duties.expected_sync_seats(FULU, **arguments)), float(
            duties.sync_seat_probability(FULU, **arguments)
        )

    np.testing.assert_allclose(both(32.0, total), [1.0, 1.0], rtol=tolerance)
    np.testing.assert_allclose(both(64.0, total), [2.0, 1.0], rtol=tolerance)
    np.testing.assert_allclose(both(16.0, total), [0.5, 0.5], rtol=tolerance)
    np.testing.assert_allclose(both(2048.0, 3.4e7), [512 * 2048 / 3.4e7] * 2, rtol=10 * tolerance)
    assert both(total, total)[0] == 512.0
    slope = jax.grad(
        lambda balance: duties.sync_seat_probability(FULU, effective_balance_eth=balance, total_stake_eth=total)
    )
    assert float(slope(64.0)) == 0.0
    assert float(slope(16.0)) == pytest.approx(1 / 32, rel=10 * tolerance)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.floats(1.0, 2048.0), min_size=1, max_size=20))
def test_shares_and_seats_of_a_whole_set(sizes):
    """Chances to propose add up to 1 and expected seats to 512, however the stake is split."""
    total = float(np.sum(np.asarray(sizes)))
    shares = [duties.proposal_probability(effective_balance_eth=size, total_stake_eth=total) for size in sizes]
    seats = [duties.expected_sync_seats(FULU, effective_balance_eth=size, total_stake_eth=total) for size in sizes]
    assert float(sum(shares)) == pytest.approx(1.0, rel=1e-5)
    assert float(sum(seats)) == pytest.approx(512.0, rel=1e-5)


# --- The yearly income of a validator and of an operator -------------------------------------------------------------


def perfect_year(fork, *, total_stake_eth, validators=1.0, payment_variance=0.0):
    """Moments of a year of perfect 32-ETH validators in a perfect network, from the package's reward formulas."""
    base = rewards.get_base_reward(fork, effective_balance_eth=32.0, total_stake_eth=total_stake_eth)
    network = base * total_stake_eth / 32.0
    return duties.yearly_income_moments(
        fork,
        validators=validators,
        effective_balance_eth=32.0,
        total_stake_eth=total_stake_eth,
        steady_eth=base * 54 / 64 * forks.epochs_per_year(fork),
        proposal=Moments(mean=network / 32 * 8 / 64, variance=payment_variance),
        sync_period_eth=network * 256 * 2 / 64 / 512,
    )


def law_of_a_year(
    *, base_gwei: float, most_proposals: int = 60, most_seats: int = 12, whole: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Incomes and chances of one perfect validator of 500,000, by convolution in NumPy and SciPy, sorted by income.

    `base_gwei` is a validator's base reward per epoch; `whole` floors the payments to Gwei.
    """
    floor = math.floor if whole else float
    network = base_gwei * 500_000
    attesting, proposal, seat = (
        floor(base_gwei * 54 / 64),
        floor(network * 8 / 32 / 64),
        floor(network * 256 * 2 / 512 / 64),
    )
    k, c = np.arange(most_proposals + 1), np.arange(most_seats + 1)
    blocks = stats.binom.pmf(k, YEAR, 1 / 500_000)
    p = 512 / 500_000
    log_ways = special.gammaln(PERIODS + 1) - special.gammaln(c + 1) - special.gammaln(PERIODS - c + 1)
    seats = np.exp(log_ways + c * np.log(p) + (PERIODS - c) * np.log1p(-p))  # scipy refuses 321.02 periods
    incomes = (attesting * YEAR / 32 + proposal * k[:, None] + seat * c[None]).ravel() / 1e9
    chance = (blocks[:, None] * seats[None]).ravel()
    order = np.argsort(incomes)
    return incomes[order], chance[order]


def quantiles(incomes: np.ndarray, chance: np.ndarray) -> list[float]:
    """Median, 10 % and 90 %."""
    return [float(incomes[np.searchsorted(np.cumsum(chance), level)]) for level in (0.5, 0.1, 0.9)]


def published_statistics(incomes: np.ndarray, chance: np.ndarray) -> list[float]:
    """Mean and standard deviation as the published script takes them: the sum of the chances is not checked."""
    mean = float(np.sum(incomes * chance))
    return [mean, math.sqrt(float(np.sum(incomes**2 * chance)) - mean**2)]


SMOOTH_BASE = 32 * 64e9 / math.sqrt(500_000 * 32e9)
WHOLE_BASE = 32 * 10**9 * 64 // math.isqrt(500_000 * 32 * 10**9)


def test_dispersion_of_income(tolerance):
    """500,000 validators, 31,557,600 s: mean 1.33058 ETH and standard deviation 0.10254, by independent convolution."""
    incomes, chance = law_of_a_year(base_gwei=SMOOTH_BASE)
    exact = moments_of(incomes, chance / chance.sum())
    found = perfect_year(FULU, total_stake_eth=16e6)
    np.testing.assert_allclose(numbers(found)[:2], exact[:2], rtol=max(1e-9, 10 * tolerance))
    np.testing.assert_allclose(numbers(found)[2], exact[2], rtol=max(1e-8, 50 * tolerance))
    assert float(found.mean) == pytest.approx(1.33058, abs=1e-5)
    assert float(duties.standard_deviation(found)) == pytest.approx(0.10254, abs=1e-5)
    assert float(duties.skewness(found)) == pytest.approx(exact[2] / exact[1] ** 1.5, rel=max(1e-8, 50 * tolerance))


def test_quantiles_of_income_from_the_package_s_own_chances(only_x64):
    """Median, 10 % and 90 % of the same law, with its probabilities from `proposal_distribution`."""
    proposals = duties.proposal_distribution(slots=float(YEAR), probability=1 / 500_000, max_proposals=60)
    seats = duties.proposal_distribution(
        slots=duties.sync_committee_periods_per_year(FULU), probability=512 / 500_000, max_proposals=12
    )
    base = float(rewards.get_base_reward(FULU, effective_balance_eth=32.0, total_stake_eth=16e6))
    assert base == pytest.approx(SMOOTH_BASE * 1e-9, rel=1e-14)
    network = 500_000 * base
    incomes = (
        base * 54 / 64 * YEAR / 32
        + network / 32 / 8 * np.arange(61)[:, None]
        + network * 256 / 32 / 512 * np.arange(13)[None]
    ).ravel()
    order = np.argsort(incomes)
    found = quantiles(incomes[order], np.outer(proposals, seats).ravel()[order])
    np.testing.assert_allclose(found, quantiles(*law_of_a_year(base_gwei=SMOOTH_BASE)), rtol=1e-12)
    np.testing.assert_allclose(found, [1.31242, 1.21755, 1.47053], atol=5e-6)


def test_published_dispersion_is_that_of_a_truncated_law(published):
    """Upgrading Ethereum, src/charts/reward_variance.py: mean 1.3302, standard deviation 0.1037.

    The script counts whole Gwei (a base reward of 16,190), at most 15 proposals and at most 4 seats, and does not
    rescale the chances that are left, 1 - 1.46e-4. The lost mass lowers the mean by 0.02 % and, through
    `sum p x^2 - mean^2`, raises the standard deviation by 1.1 %. So computed, the published numbers follow to the
    last digit; the quantiles do not notice the truncation, and differ from the smooth law's by the whole Gwei only,
    below 1e-4.
    """
    value = published["dispersion_500k"]["value"]
    assert WHOLE_BASE == 16_190
    truncated = law_of_a_year(base_gwei=WHOLE_BASE, most_proposals=15, most_seats=4, whole=True)
    assert 1 - truncated[1].sum() == pytest.approx(1.458e-4, rel=1e-3)
    mean, deviation = published_statistics(*truncated)
    assert [round(x, 4) for x in (mean, deviation)] == [value["mean"], value["sd_published"]]
    assert [round(x, 4) for x in quantiles(*truncated)] == [value["median"], value["p10"], value["p90"]]
    ours = perfect_year(FULU, total_stake_eth=16e6)
    assert float(ours.mean) / value["mean"] - 1 == pytest.approx(2.9e-4, abs=5e-5)
    assert float(duties.standard_deviation(ours)) / value["sd_published"] - 1 == pytest.approx(-0.0112, abs=6e-4)
    exact = quantiles(*law_of_a_year(base_gwei=SMOOTH_BASE))
    np.testing.assert_allclose(exact, [value["median"], value["p10"], value["p90"]], rtol=3e-4)
    np.testing.assert_allclose(exact, quantiles(*truncated), rtol=1e-4)


def test_mean_income_is_the_perfect_one(tolerance):
    """Expected luck is no luck: what a validator earns on average is the perfect APR on 32 ETH."""
    for stake in (16e6, 3.4e7):
        mean = float(perfect_year(FULU, total_stake_eth=stake).mean)
        assert mean == pytest.approx(32 * float(issuance.perfect_apr(FULU, total_stake_eth=stake)), rel=20 * tolerance)


def test_k_validators_smooth_the_luck(tolerance):
    """The mean grows with k; the variance too, less `n k (k - 1) p^2 a^2`, since a slot has one proposer.

    So the relative spread falls with the root of k, to the order k EB/T.
    """
    one = perfect_year(FULU, total_stake_eth=3.4e7)
    for k in (4, 100):
        many = perfect_year(FULU, total_stake_eth=3.4e7, validators=float(k))
        assert float(many.mean) == pytest.approx(k * float(one.mean), rel=20 * tolerance)
        share_of_one = 32 / 3.4e7
        base = float(rewards.get_base_reward(FULU, effective_balance_eth=32.0, total_stake_eth=3.4e7))
        excluded = YEAR * k * (k - 1) * share_of_one**2 * (base * 3.4e7 / 32 / 32 / 8) ** 2
        expected = k * float(one.variance) - excluded
        assert float(many.variance) == pytest.approx(expected, rel=100 * tolerance)
        spread = float(duties.standard_deviation(many) / many.mean)
        alone = float(duties.standard_deviation(one) / one.mean)
        assert spread == pytest.approx(alone / math.sqrt(k), rel=k * share_of_one + 100 * tolerance)
        assert float(duties.skewness(many)) == pytest.approx(
            float(duties.skewness(one)) / math.sqrt(k), rel=3 * k * share_of_one + 200 * tolerance
        )


def test_one_validator_of_2048_eth_against_64_of_32(tolerance):
    """The same stake in one validator: the same proposals, so the same moments while sync is left out."""

    def operator(validators, balance):
        return duties.yearly_income_moments(
            FULU,
            validators=validators,
            effective_balance_eth=balance,
            total_stake_eth=3.4e7,
            steady_eth=0.02 * balance,
            proposal=Moments(mean=0.05, variance=0.01),
            sync_period_eth=0.0,
        )

    np.testing.assert_allclose(numbers(operator(1.0, 2048.0)), numbers(operator(64.0, 32.0)), rtol=20 * tolerance)


def test_payment_spread_adds_to_the_variance_alone(tolerance):
    """E N Var(A): the expected number of proposals times the variance of one block's value (law of total variance)."""
    fixed = perfect_year(FULU, total_stake_eth=3.4e7)
    random = perfect_year(FULU, total_stake_eth=3.4e7, payment_variance=0.04)
    assert float(random.mean) == float(fixed.mean)
    extra = float(random.variance) - float(fixed.variance)
    assert extra == pytest.approx(YEAR * 32 / 3.4e7 * 0.04, rel=100 * tolerance)


def test_moments_know_their_domain():
    assert leaves.names(PAYMENT) == ["mean", "variance", "third_central"]
    assert not leaves.domains(PAYMENT)["variance"].contains(-1.0)
