"""The APR guide as printed, against the numbers that its code gives, that code itself, hand work and NumPy."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from jaxstake.articles.apr_guide import (
    calculator,
    consensus,
    mev,
    penalties,
    randao,
    rewards,
    risk,
    sensitivity,
    statements,
    strategy,
    tips,
)
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.articles.apr_guide.mev import MevModel
from jaxstake.articles.apr_guide.strategy import Optimizer
from jaxstake.core.sha256 import from_integer, to_hex
from jaxstake.protocol import forks
from jaxstake.protocol import penalties as leak_rules
from jaxstake.protocol import rewards as reward_rules
from tests.oracles import printed_code

FULU = forks.get("fulu")
MANY = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module")
def sources(shared) -> dict[str, list[str]]:
    """Statements of the document's code by section."""
    return printed_code.statements(printed_code.read(shared / "documents"))


@pytest.fixture(scope="module")
def document(sources) -> printed_code.Printed:
    """The document's functions and classes."""
    return printed_code.run(sources)


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, Any]:
    """What the document's code computes, at full precision."""
    return json.loads((shared / "published" / "published_tables.json").read_text())


def assert_close(ours: Any, theirs: Any, tolerance: float, *, scale: float = 0.0) -> None:
    """Equal up to rounding of the values, or of what they were subtracted from."""
    np.testing.assert_allclose(
        np.asarray(ours, float), np.asarray(theirs, float), rtol=tolerance, atol=tolerance * scale
    )


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of an interval; what is smaller than a millionth is 0, for products of them must not underflow."""
    return st.floats(low, high).map(lambda value: value if abs(value) > 1e-6 else max(low, 0.0))


def fields(result: Any) -> dict[str, Any]:
    return dict(vars(result))


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(count)


# --- MEV and its seed -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sample(numbers) -> tuple[dict[str, float], np.ndarray]:
    """Published statistics, and the draws behind them by seed and number."""
    ((name, found),) = [(name, value) for name, value in numbers["mev"].items() if name.startswith("numpy_seed")]
    seed, count = map(int, re.findall(r"\d+", name))
    return found, drawn(seed, count)


def test_statistics_of_numpys_draws(sample, tolerance):
    theirs, draws = sample
    ours = fields(mev.mev_distribution(MevModel(), draws=jnp.asarray(draws)))
    assert set(ours) == set(theirs)
    assert_close([ours[name] for name in theirs], list(theirs.values()), tolerance)


def test_the_distribution_itself_is_within_its_standard_errors(sample):
    """Of the mean by the variance, of a quantile by the density there, of the deviation by the fourth moment."""
    theirs, draws = sample
    model, count = MevModel(), len(draws)
    exact: Any = stats.lognorm(s=1.2, scale=math.exp(-2.5))
    mean, variance, kurtosis = (float(moment) for moment in exact.stats("mvk"))
    deviation = math.sqrt(variance)
    errors = {
        "mean": deviation / math.sqrt(count),
        "std": deviation * math.sqrt((kurtosis + 2.0) / count) / 2,
    }
    ours = {"mean": float(mev.expected_mev_per_block(model)), "std": float(mev.mev_standard_deviation(model))}
    assert_close([ours["mean"], ours["std"]], [mean, deviation], 1e-5)
    for name, level in {"p5": 0.05, "median": 0.5, "p95": 0.95, "p99": 0.99}.items():
        ours[name] = float(mev.mev_quantile(model, level=level))
        errors[name] = math.sqrt(level * (1 - level) / count) / float(exact.pdf(exact.ppf(level)))
        assert_close(ours[name], exact.ppf(level), 1e-5)
    assert set(errors) == set(theirs)
    off = {name: (theirs[name] - ours[name]) / error for name, error in errors.items()}
    assert all(abs(z) < 4 for z in off.values()), off
    assert all(error < 0.15 * ours[name] for name, error in errors.items())


def test_draws_of_jax_agree_with_the_distribution():
    draws = jax.random.normal(jax.random.key(0), (20_000,))
    samples = np.asarray(mev.mev_samples(MevModel(), draws=draws), float)
    assert stats.kstest(samples, stats.lognorm(s=1.2, scale=math.exp(-2.5)).cdf).pvalue > 0.01


@pytest.mark.parametrize(("mean", "std", "count"), [(-2.5, 1.2, 1000), (0.3, 0.1, 1000), (-4.0, 2.0, 1)])
def test_mev_distribution_is_the_documents(document, tolerance, mean, std, count):
    theirs = document.MEVRewardModel()
    theirs.mean_log_return, theirs.std_log_return = mean, std
    with printed_code.global_generator_kept():
        expected = theirs.mev_distribution(count)
    model = MevModel(mean_log_return=mean, std_log_return=std)
    ours = fields(mev.mev_distribution(model, draws=jnp.asarray(drawn(42, count))))
    assert set(ours) == set(expected)
    assert_close([ours[name] for name in expected], list(expected.values()), 2 * tolerance, scale=expected["mean"])


@given(mean=reals(-6, 2), std=reals(0, 3), validators=st.integers(1, 10**7))
@MANY
def test_mev_expectations_are_the_documents(document, tolerance, mean, std, validators):
    theirs = document.MEVRewardModel()
    theirs.mean_log_return, theirs.std_log_return = mean, std
    model = MevModel(mean_log_return=mean, std_log_return=std)
    assert_close(mev.expected_mev_per_block(model), theirs.expected_mev_per_block(), 10 * tolerance)
    expected = theirs.annual_mev_expectation(validators)
    ours = fields(mev.annual_mev_expectation(model, validator_count=validators))
    ours["proposal_prob"] = ours.pop("proposal_probability")
    ours["annual_mev_eth"] = ours["annual_mev"]
    assert set(ours) == set(expected)
    assert_close([ours[name] for name in expected], list(expected.values()), 10 * tolerance)


def test_the_documents_fit_takes_one_payment_at_most(document, tolerance):
    """A list cannot be shifted, an array of two has no truth value; nothing, or one payment of nothing, is no data."""
    model = document.MEVRewardModel
    with pytest.raises(TypeError):
        model([0.01, 0.04])
    with pytest.raises(ValueError, match="truth value"):
        model(np.array([0.01, 0.04]))
    for empty in (None, [], np.array([0.0])):
        assert (model(empty).mean_log_return, model(empty).std_log_return) == (-2.5, 1.2)
    ours, theirs = mev.fit_mev_model(payments=jnp.array([0.04])), model(np.array([0.04]))
    assert_close(ours.mean_log_return, theirs.mean_log_return, tolerance)
    assert float(ours.std_log_return) == theirs.std_log_return == 0.0


class Truthy(np.ndarray):
    """An array with a truth value, with which the document's fit runs."""

    def __bool__(self) -> bool:
        return True


@given(st.lists(reals(0, 50), min_size=3, max_size=3))
@MANY
def test_fit_is_the_documents_and_numpys(document, tolerance, payments):
    theirs = document.MEVRewardModel(np.array(payments).view(Truthy))
    ours = mev.fit_mev_model(payments=jnp.asarray(payments))
    log = np.log(np.array(payments) + 1e-10)
    for expected in ((theirs.mean_log_return, theirs.std_log_return), (np.mean(log), np.std(log))):
        assert_close([ours.mean_log_return, ours.std_log_return], expected, tolerance, scale=25.0)


def test_fit_returns_what_was_drawn():
    model = MevModel(mean_log_return=-3.0, std_log_return=0.8)
    payments = mev.mev_samples(model, draws=jax.random.normal(jax.random.key(1), (20_000,)))
    found = mev.fit_mev_model(payments=payments)
    assert_close([found.mean_log_return, found.std_log_return], [-3.0, 0.8], 0.02)


def test_a_payment_of_nothing_counts_as_almost_nothing(tolerance):
    zeros = mev.fit_mev_model(payments=jnp.zeros(5))
    assert_close(zeros.mean_log_return, math.log(1e-10), tolerance)
    assert float(zeros.std_log_return) == pytest.approx(0.0, abs=1e-5)
    payments = mev.mev_samples(MevModel(), draws=jnp.asarray(special.ndtri((np.arange(100) + 0.5) / 100)))
    whole, holed = (mev.fit_mev_model(payments=some) for some in (payments, payments.at[50].set(0.0)))
    assert float(holed.std_log_return) ** 2 > 2 * float(whole.std_log_return) ** 2


# --- The document's own code ----------------------------------------------------------------------------------------


def test_all_code_is_extracted(shared, sources):
    """Every line that is indented, or starts as a definition, a loop, an import or a call of print."""
    text = printed_code.read(shared / "documents").split(f"\n{printed_code.CONCLUSION}\n")[0]
    extracted = [line for section in sources.values() for source in section for line in source.splitlines()]
    printed = [line for line in text.splitlines() if line.strip()]
    code = [line for line in printed if re.match(r"\s|print\(|def |class |for |import |from |[)\]}]", line)]
    assert [line for line in extracted if re.match(r"\s*\S", line) and line in set(code)] == code
    others = [line for line in extracted if line.strip() and line not in set(code)]
    assert all(re.match(r"[a-z_, ]+ = |\w+\(\)|\w+\.\w+\(", line) for line in others)
    assert len(sources) == 14
    assert sum(line.startswith(("def ", "class ")) for line in extracted) == 14


def test_the_risk_function_does_not_run_as_printed(sources):
    """Its parameter has a name that its body does not use."""
    (source,) = [source for source in sources["5.1"] if source.startswith("def risk_adjusted_apr")]
    as_printed: dict[str, Any] = {}
    printed_code.execute(source, as_printed, corrected=False)
    assert list(inspect.signature(as_printed["risk_adjusted_apr"]).parameters)[1] == printed_code.MISNAMED
    with pytest.raises(NameError, match="slash_probability"):
        as_printed["risk_adjusted_apr"](4.5, 0.001, 0.5, 0.1, 0.1)
    with pytest.raises(NameError, match="slash_probability"):
        printed_code.run(sources, corrected=False)


def test_execution_leaves_numpys_generator_alone(sources):
    def state() -> Any:
        return np.random.get_state()[1]  # type: ignore[index]  # noqa: NPY002

    before = state().copy()
    printed_code.run(sources)
    np.testing.assert_array_equal(state(), before)


@given(
    validators=st.integers(1, 10**7),
    slots=st.integers(1, 64),
    epochs=reals(1, 1000),
    base_reward=reals(-1, 1e6),
    balance=reals(0, 2048),
)
@MANY
def test_consensus_model(document, tolerance, validators, slots, epochs, base_reward, balance):
    theirs = document.POSConsensusModel(validators, slots, epochs)
    clock = {"slots_per_epoch": slots, "epochs_per_day": epochs}
    assert_close(consensus.slots_per_day(**clock), theirs.slots_per_day, tolerance)
    proposals = consensus.expected_proposals_per_day(validators=validators, **clock)
    assert_close(proposals, theirs.expected_proposals_per_day(), tolerance)
    assert_close(consensus.selection_probability(validators=validators), proposals / theirs.slots_per_day, tolerance)
    reward = consensus.proposer_reward_per_epoch(base_reward=base_reward, validators=validators)
    assert_close(reward, theirs.proposer_reward_per_epoch(base_reward, balance), tolerance)


@given(st.lists(st.integers(0, 2**256 - 1), min_size=3, max_size=3))
@settings(max_examples=15, deadline=None)
def test_randao(document, contributions):
    words = np.stack([from_integer(number) for number in contributions])
    ours = randao.randao_entropy(contributions=words)
    assert (int(to_hex(ours.exclusive_or), 16), to_hex(ours.digest)) == document.randao_entropy(contributions)


@given(balance=reals(-32, 2048), stake=reals(1, 2e8), factor=reals(0.1, 1000), slots=st.integers(-1, 64))
@MANY
def test_base_reward_calculation(document, tolerance, balance, stake, factor, slots):
    theirs = document.base_reward_calculation(balance, stake, factor, slots)
    ours = rewards.base_reward_calculation(
        total_effective_stake=stake, validator_effective_balance=balance, base_reward_factor=factor
    )
    assert_close([ours.reward_eth, ours.base_rewards_per_epoch_eth], theirs, tolerance)


def test_defaults_are_the_documents(document):
    """Of the base reward and of the tips, and the attributes of the classes."""
    ours = rewards.base_reward_calculation()
    assert_close([ours.reward_eth, ours.base_rewards_per_epoch_eth], document.base_reward_calculation(), 1e-6)
    pairs = [
        (Calculator(), document.StakingRewardCalculator(), set()),
        (MevModel(), document.MEVRewardModel(), set()),
        (Optimizer(), document.StakingOptimizer(1000), {"slash_probability"}),
    ]
    for our, their, renamed in pairs:
        names = {field.name for field in dataclasses.fields(our)} - renamed
        assert names <= set(vars(their))
        assert {name: getattr(our, name) for name in names} == {name: getattr(their, name) for name in names}
    assert Optimizer().slash_probability == document.StakingOptimizer(1000).slash_prob


def test_defaults_of_formulas_that_no_code_computes_are_those_of_the_code(document):
    """Arguments of one name have one default, the document's where its code has it."""
    parameters = inspect.signature(document.base_reward_calculation).parameters
    theirs = {name: parameter.default for name, parameter in parameters.items()}
    theirs |= {"epochs_per_day": 225, "days_per_year": 365, "base_recipients_per_epoch": 1}
    for function in (
        rewards.base_reward_calculation,
        rewards.annual_base_reward,
        rewards.base_reward_definition,
        rewards.base_reward_simplified,
        rewards.base_reward_further_simplified,
    ):
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.default is not parameter.empty:
                assert parameter.default == theirs[name], (function.__name__, name)
    clock = inspect.signature(document.POSConsensusModel.__init__).parameters
    ours = inspect.signature(consensus.expected_proposals_per_day).parameters
    assert {name: ours[name].default for name in clock if name in ours} == {
        "slots_per_epoch": 32,
        "epochs_per_day": 225,
    }


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("MEV_PER_BLOCK_ETH", 0.05, "2024-2025 年平均 MEV/區塊約 0.05 ETH"),
        ("VARIABLE_SHARE", (0.20, 0.30), "可變收益(MEV + Tips)約佔總收益的 20-30%"),
        ("RISK_DISCOUNT", (0.01, 0.05), "風險調整後的實際 APR 可能比名目 APR 低 1-5%"),
        ("EXIT_HOURS", 27.0, "退出延遲(目前約 27 小時)"),
        ("SECONDS_PER_EPOCH", 27.0, "假設每 epoch 27 秒"),
        ("YEARLY_INCOME_ETH", 2.0, "32 質押 + 2 年化收益"),
        ("LEAK_THRESHOLD_EPOCHS", 4.0, "if epochs_since_finality > 4:  # 洩露閾值"),
        ("SYNC_PERIODS_PER_EPOCH", 1.0, "每個 Epoch 隨機選擇 512 個驗證者組成同步委員會"),
        ("UNIFORM_WITH_ONE_HONEST", True, "如果至少一個驗證者是誠實的,最終輸出是均勻隨機的"),
    ],
)
def test_statements_are_the_documents_words(shared, name, value, words):
    assert getattr(statements, name) == value
    assert words in printed_code.read(shared / "documents")


def documents_calculator(document: printed_code.Printed, ours: Calculator) -> Any:
    """The document's calculator with the same constants."""
    theirs = document.StakingRewardCalculator()
    for name, value in vars(ours).items():
        setattr(theirs, name, value)
    theirs.slots_per_day = ours.slots_per_epoch * ours.epochs_per_day
    return theirs


CALCULATORS = st.builds(
    Calculator,
    slots_per_epoch=reals(1, 64),
    epochs_per_day=reals(1, 1000),
    days_per_year=reals(1, 400),
    base_reward_factor=reals(1, 128),
    base_recipients_per_epoch=reals(1, 8),
    proposer_score_boost=reals(0, 1),
    effective_balance=reals(1, 2048),
)


@given(
    of=CALCULATORS,
    stake=reals(1e5, 2e8),
    rate=reals(0.01, 1),
    size=st.integers(1, 2048),
    include_mev=st.booleans(),
    include_tips=st.booleans(),
)
@MANY
def test_calculator(document, tolerance, of, stake, rate, size, include_mev, include_tips):
    theirs, given_stake = documents_calculator(document, of), {"total_stake": stake}
    assert_close(calculator.base_reward(of, **given_stake), theirs.calculate_base_reward(stake), tolerance)
    attestation = calculator.attestation_reward(of, participation_rate=rate, **given_stake)
    assert_close(attestation, theirs.calculate_attestation_reward(stake, rate), tolerance)
    proposer = calculator.proposer_reward(of, chain_activity_rate=rate, **given_stake)
    assert_close(proposer, theirs.calculate_proposer_reward(stake, rate), tolerance)
    sync = calculator.sync_committee_reward(of, sync_committee_size=size, **given_stake)
    expected = theirs.calculate_sync_committee_reward(stake, size)
    assert_close([sync.average, sync.selection_probability, sync.annual], expected, tolerance)
    switches = {"include_mev": include_mev, "include_tips": include_tips}
    ours = fields(calculator.annual_apr(of, **given_stake, **switches))
    annual = theirs.calculate_annual_apr(stake, **switches)
    assert set(ours) == set(annual)
    assert_close([ours[name] for name in annual], list(annual.values()), tolerance)


@given(
    base_reward=reals(-1, 1),
    missed=st.integers(-5, 1000),
    rate=reals(-1, 2),
    epochs=st.one_of(st.integers(-3, 10_000), reals(0, 20)),
)
@MANY
def test_missed_attestation_penalty(document, tolerance, base_reward, missed, rate, epochs):
    ours = penalties.missed_attestation_penalty(
        base_reward=base_reward, missed_count=missed, leakage_rate=rate, epochs_since_finality=epochs
    )
    theirs = document.missed_attestation_penalty(base_reward, missed, rate, epochs)
    assert_close(ours.base_penalty, theirs[0], tolerance)
    assert_close(ours.leak_penalty, theirs[1], tolerance, scale=1e-6)


@given(balance=reals(-32, 2048), is_block=st.booleans(), votes=reals(0, 5))
@MANY
def test_double_sign_penalty(document, tolerance, balance, is_block, votes):
    ours = penalties.double_sign_penalty(validator_effective_balance=balance, is_constructive=is_block)
    assert_close(ours, document.double_sign_penalty(balance, is_block, votes), tolerance)


@given(reals(-1e6, 60e6))
@MANY
def test_tips_reward_model(document, tolerance, gas):
    theirs = document.tips_reward_model(None, gas)
    ours = fields(tips.tips_reward_model(block_gas_used=gas))
    ours["avg_gas_price_gwei"] = ours.pop("average_gas_price_gwei")
    assert set(ours) == set(theirs)
    assert_close([ours[name] for name in theirs], list(theirs.values()), tolerance)


@given(st.tuples(*[reals(-10, 10)] * 5))
@MANY
def test_risk_adjusted_apr(document, tolerance, inputs):
    theirs = document.risk_adjusted_apr(*inputs)
    names = list(inspect.signature(risk.risk_adjusted_apr).parameters)[:5]
    ours = fields(risk.risk_adjusted_apr(**dict(zip(names, inputs, strict=True))))
    assert set(ours) == set(theirs)
    assert_close([ours[name] for name in theirs], list(theirs.values()), tolerance, scale=200.0)


OPTIMIZERS = st.builds(
    Optimizer,
    risk_tolerance=reals(0, 1),
    base_apr=reals(0, 20),
    slash_probability=reals(0, 1),
    slash_penalty=reals(0, 1),
)


@given(of=OPTIMIZERS, capital=st.sampled_from([-1.0, 0.0, 31.99, 32.0, 100.0, 1000.0, 1024]))
@settings(max_examples=20, deadline=None)
def test_optimizer(document, tolerance, of, capital):
    """All rows of the document's loop, and one row at a time."""
    theirs = document.StakingOptimizer(capital, of.risk_tolerance)
    theirs.base_apr, theirs.slash_prob, theirs.slash_penalty = of.base_apr, of.slash_probability, of.slash_penalty
    rows = theirs.optimize_validator_count()
    most = int(strategy.optimal_validator_count(of, total_capital=capital))
    assert max(most, 0) == len(rows)
    ours = fields(strategy.allocations(of, max_validators=most))
    for name, column in ours.items():
        assert column.shape == (len(rows),)
        assert_close(column, [row[name] for row in rows], tolerance, scale=1e-3)
    for row in rows[-1:]:
        assert set(row) == set(ours)
        last = fields(strategy.allocation(of, n=len(rows)))
        assert_close([last[name] for name in row], list(row.values()), tolerance, scale=1e-3)


def test_strategies_and_advice_are_the_documents(sources):
    """In order, from the source: the strategies' numbers, and the rates beside the advice."""
    optimizer, advice = "\n".join(sources["6.1"]), "\n".join(sources["6.2"])
    found = re.findall(r'"stake_fraction": ([\d.]+), "management_fee": ([\d.]+)', optimizer)
    assert [(float(fraction), float(fee)) for fraction, fee in found] == list(strategy.STRATEGIES.values())
    assert [float(rate) for rate in re.findall(r'\(([\d.]+), "', advice)] == [row.apr for row in strategy.ADVICE]
    assert all(strategy.exit_advice(outlook=row.outlook) is row for row in strategy.ADVICE)


# --- What is printed and not computed -------------------------------------------------------------------------------


def test_proposer_reward_formula(tolerance):
    """3 (1000 * 0.5 / 4000) / 8 = 3/64."""
    given = {"block_reward": 3.0, "attestors": 1000.0, "base_reward": 0.5, "total_participation": 4000.0}
    assert_close(consensus.proposer_reward_formula(**given), 3 / 64, tolerance)
    assert_close(consensus.proposer_reward_formula(**given, proposer_factor=0.5), 3 / 16, tolerance)


def test_base_reward_formulas_by_hand(tolerance):
    """At B = 3, F = 5, S = 7, T = 2: B F^2 / S, F^2 S B / T, B^2 F^2 / (S T)."""
    own = {"validator_effective_balance": 3.0, "base_reward_factor": 5.0}
    assert_close(rewards.base_reward_definition(total_participation=7.0, **own), 75 / 7, tolerance)
    four = rewards.base_reward_definition(total_participation=7.0, base_recipients_per_epoch=4.0, **own)
    assert_close(four, 300 / 7, tolerance)
    own |= {"total_effective_stake": 7.0, "slots_per_epoch": 2.0}
    assert_close(rewards.base_reward_simplified(**own), 25 * 7 * 3 / 2, tolerance)
    assert_close(rewards.base_reward_further_simplified(**own), 225 / 14, tolerance)


@given(balance=reals(1, 2048), stake=reals(1e3, 2e8), factor=reals(1, 128), slots=reals(1, 64))
@MANY
def test_base_rewards_disagree_by_powers(tolerance, balance, stake, factor, slots):
    """The printed versions differ by the factor, the stake and the billion, never by rounding."""
    own = {"validator_effective_balance": balance, "base_reward_factor": factor, "total_effective_stake": stake}
    code = float(rewards.base_reward_calculation(**own).reward_eth)
    of = Calculator(effective_balance=balance, base_reward_factor=factor)
    assert_close(calculator.base_reward(of, total_stake=stake), code * 1e9, 4 * tolerance)
    definition = rewards.base_reward_definition(
        total_participation=stake, validator_effective_balance=balance, base_reward_factor=factor
    )
    assert_close(definition, code * 1e9 * factor, 4 * tolerance)
    further = rewards.base_reward_further_simplified(**own, slots_per_epoch=slots)
    assert_close(further, float(definition) * balance / slots, 4 * tolerance)
    simplified = rewards.base_reward_simplified(**own, slots_per_epoch=slots)
    assert_close(simplified, float(further) * stake**2 / balance, 4 * tolerance)


def test_the_loop_of_base_rewards(tolerance):
    found = rewards.annual_base_reward(total_effective_stake=16e6, validator_effective_balance=64.0)
    per_epoch = 64 * 64 / 16e6 / 1e9
    expected = [per_epoch, per_epoch * 225, per_epoch * 225 * 365, per_epoch * 225 * 365 / 64 * 100]
    assert_close(list(fields(found).values()), expected, tolerance)


def test_leak_penalty_formula(tolerance):
    """32 * 3/4 * 2^20 / 2^25 = 3/4."""
    assert_close(penalties.leak_penalty_formula(effective_balance=32.0, distance=1024.0), 0.75, tolerance)
    assert_close(penalties.leak_penalty_formula(effective_balance=32.0, distance=8192.0), 48.0, tolerance)
    found = penalties.leak_penalty_formula(effective_balance=16.0, distance=1024.0, leakage_rate=1.0)
    assert_close(found, penalties.leak_penalty(distance=1024.0, effective_balance=16.0).penalty, tolerance)


def test_relative_loss(tolerance):
    """A year of base rewards is all of it."""
    assert_close(penalties.relative_loss(penalty=225 * 365 * 2e-5, base_reward=2e-5), 100.0, tolerance)


@given(ratio=reals(1e-6, 5), balance=reals(1, 2048), eta=reals(1e3, 1e9))
@MANY
def test_leak_distance_undoes_the_leak(tolerance, ratio, balance, eta):
    found = penalties.leak_distance(loss_ratio=ratio, effective_balance=balance, eta=eta)
    assert_close(found.distance, np.sqrt(ratio * eta), 2 * tolerance)
    assert_close(found.days, np.sqrt(ratio * eta) / 225, 2 * tolerance)
    leak = penalties.leak_penalty(distance=found.distance, effective_balance=balance, eta=eta)
    assert_close(leak.penalty, ratio * balance, 4 * tolerance)
    assert_close(leak.remaining, balance - ratio * balance, 4 * tolerance, scale=6 * balance)
    assert_close(leak.remaining_ratio, 100 - 100 * ratio, 4 * tolerance, scale=600)


def test_annual_mev_formula(tolerance):
    """The docstring has the blocks of a year and the proposals of a day: 32 * 7,200 times the code."""
    model = MevModel(mean_log_return=0.0, std_log_return=0.0)
    assert_close(mev.annual_mev_formula(model, validator_count=7200.0), 225 * 365 * 32, tolerance)
    code = mev.annual_mev_expectation(MevModel(), validator_count=5e5).annual_mev
    formula = mev.annual_mev_formula(MevModel(), validator_count=5e5)
    assert_close(formula, float(code) * 32 * 7200, 4 * tolerance)


@pytest.mark.parametrize(("mean", "std"), [(-2.5, 1.2), (0.5, 0.3), (-4.0, 2.5)])
def test_lognormal_moments_and_quantiles(tolerance, mean, std):
    model, exact = MevModel(mean_log_return=mean, std_log_return=std), stats.lognorm(s=std, scale=math.exp(mean))
    assert_close(mev.expected_mev_per_block(model), exact.mean(), 20 * tolerance)
    assert_close(mev.mev_standard_deviation(model), exact.std(), 20 * tolerance)
    for level in (1e-4, 0.05, 0.5, 0.95, 0.9999):
        assert_close(mev.mev_quantile(model, level=level), exact.ppf(level), 100 * tolerance)


def test_tips_formula(tolerance, rng):
    prices, gas = rng.uniform(1, 100, 20), rng.integers(21_000, 10**6, 20)
    assert_close(
        tips.tips_formula(gas_prices=jnp.asarray(prices), gas_used=jnp.asarray(gas)), prices @ gas, 10 * tolerance
    )
    assert float(tips.tips_formula(gas_prices=jnp.array([2.0, 3.0]), gas_used=jnp.array([10, 100]))) == 320.0


def test_variance_adjusted_apr(tolerance):
    """The docstring's price of variance is twice the code's."""
    assert_close(risk.variance_adjusted_apr(nominal_apr=4.5, risk_aversion=2.0, reward_variance=0.25), 4.0, tolerance)
    losses = ("slash_probability", "expected_slash_penalty", "downtime_probability", "expected_downtime_penalty")
    code = risk.risk_adjusted_apr(nominal_apr=4.5, volatility=0.5, **dict.fromkeys(losses, 0.0)).sharpe_adjusted_apr
    assert_close(code, 4.25, tolerance)


def test_portfolio_objective(tolerance, rng):
    returns, chances, losses = rng.uniform(0, 5, 6), rng.uniform(0, 1, 6), rng.uniform(0, 1, 6)
    found = strategy.portfolio_objective(
        returns=jnp.asarray(returns), loss_probabilities=jnp.asarray(chances), losses=jnp.asarray(losses)
    )
    assert_close(found, returns @ (1 - chances * losses), 10 * tolerance)


def test_total_reward():
    names = ("base", "attestation", "proposer", "sync", "mev", "tips")
    assert calculator.total_reward(**{name: 2.0**power for power, name in enumerate(names)}) == 63.0


def test_strategies_by_hand(tolerance):
    """The share of the capital enters twice: half the capital, a quarter of the return."""
    of = Optimizer(base_apr=8.0)
    found = strategy.strategy_return(of, stake_fraction=0.5, management_fee=0.25, capital=200.0)
    assert_close([found.stake, found.net_apr, found.annual_return], [100.0, 3.0, 3.0], tolerance)


def test_exit_by_hand(tolerance):
    found = strategy.exit_analysis(exit_delay_epochs=225.0, validator_balance=73.0, apr=5.0)
    assert_close([found.hours, found.delay_days, found.opportunity_cost], [24.0, 1.0, 0.01], tolerance)


def test_stake_sensitivity(document, tolerance):
    """With any reference, from the document's own rates."""
    theirs = document.StakingRewardCalculator()
    for stake, reference in ((1e7, 3e7), (4e7, 2e7)):
        rates = [theirs.calculate_annual_apr(at)["total_apr"] for at in (stake, reference)]
        ours = sensitivity.stake_sensitivity(Calculator(), total_stake=stake, reference_stake=reference)
        change = rates[0] - rates[1]
        assert_close([ours.change, ours.change_rate], [change, change / rates[1] * 100], 10 * tolerance)


def test_participation_sensitivity(document, tolerance):
    theirs = document.StakingRewardCalculator()
    annual = (theirs.calculate_base_reward(3e7) + theirs.calculate_attestation_reward(3e7, 0.5)) * 225 * 365
    ours = sensitivity.participation_sensitivity(
        Calculator(), participation_rate=0.5, reference_apr=10.0, total_stake=3e7
    )
    rate = annual / 32 * 100
    assert_close([ours.apr, ours.change_rate], [rate, (rate - 10.0) * 10], 10 * tolerance)


def test_how_far_off_the_protocol_they_are():
    """Ratios that the docstrings state, at 10 million ETH."""
    truth = float(reward_rules.get_base_reward(FULU, effective_balance_eth=32.0, total_stake_eth=10e6))
    code = float(rewards.base_reward_calculation(total_effective_stake=10e6).reward_eth)
    ours = float(calculator.base_reward(Calculator(), total_stake=10e6))
    assert_close([truth / code, ours / truth], [1e8, 10.0], 1e-4)
    leak = float(penalties.leak_penalty(distance=1000.0).penalty)
    exact = float(leak_rules.leak_loss(FULU, balance_eth=32.0, epochs=1000.0))
    assert leak / exact - 1.0 == pytest.approx(1000.0**2 / 2**26, rel=0.1)
