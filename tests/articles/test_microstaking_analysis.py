"""The micro-staking analysis as printed, against hand work, NumPy, SciPy and the document's own code."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import math
import re
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy import integrate, special, stats

from jaxstake.articles import microstaking_analysis as printed
from jaxstake.core import leaves

FUNCTIONS = [value for name in printed.__all__ if inspect.isfunction(value := getattr(printed, name))]
HEADINGS = ("Printed", "Args", "Returns", "Outside", "Protocol", "Source")
LANES = (1.0, 0.97, 0.9)
NAN = float("nan")


@dataclasses.dataclass(frozen=True)
class Case:
    """A function at a point inside its range, its value there, and points outside with what it must return."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]
    value: float
    outside: tuple[tuple[Mapping[str, Any], float], ...] = ()
    first: Callable[..., Any] | None = None
    """The positional argument of a function that takes another."""

    @property
    def name(self) -> str:
        return self.function.__name__

    def __call__(self, arguments: Mapping[str, Any]) -> Any:
        call = self.function if self.first is None else functools.partial(self.function, self.first)
        return call(**arguments)


def inverse_volatility(validators, volatility):
    return (1e6 / validators) ** 0.5 / (1.0 + volatility)


def small_and_patient(amount, waiting_time, score):
    return score * jnp.log1p(waiting_time) / amount


def root_impact(queue):
    return -0.02 * queue**0.5


def smile(price):
    return 3.0 * price**2 - price + 2.0


TAKES = {"reserve_in": 100.0, "reserve_out": 50.0, "amount_in": 25.0}
SHARES = np.array([0.4, 0.3, 0.2, 0.1])
DRAWS = np.array([-1.3, 0.0, 0.4, 2.1])

CASES = [
    Case(printed.system_security, {"attack_probability": 0.2}, 0.8, (({"attack_probability": 1.5}, -0.5),)),
    Case(printed.byzantine_margin, {"malicious": 20.0, "validators": 80.0}, 1 / 12, (({"validators": 0.0}, NAN),)),
    Case(printed.max_validators, {"total_stake": 320.0, "min_stake": 16.0}, 20.0, (({"min_stake": 0.0}, NAN),)),
    Case(printed.byzantine_threshold, {"total_stake": 336.0, "min_stake": 16.0}, 7.0, (({"min_stake": 0.0}, NAN),)),
    Case(
        printed.economic_security,
        {"attack_cost": 6.0, "success_probability": 0.25, "attack_reward": 8.0},
        3.0,
        (({"success_probability": 0.0}, NAN), ({"attack_reward": 0.0}, NAN), ({"attack_cost": -6.0}, -3.0)),
    ),
    Case(printed.attack_cost, {"validators": 1000.0, "cost_per_validator": 32.0}, 32e3, (({"validators": 0.0}, 0.0),)),
    Case(
        printed.validator_quality_log_density,
        {"quality": 0.5, "mean": 0.9, "standard_deviation": 0.2},
        float(stats.norm.logpdf(0.5, 0.9, 0.2)),
        (({"standard_deviation": 0.0}, NAN), ({"standard_deviation": -0.2}, float(stats.norm.logpdf(0.5, 0.9, 0.2)))),
    ),
    Case(
        printed.entropy,
        {"shares": SHARES},
        float(stats.entropy(SHARES, base=2)),
        (({"shares": np.array([0.4, 0.7, -0.1, 0.0])}, NAN), ({"shares": np.array([2.0, 2.0, 0.0, 0.0])}, -4.0)),
    ),
    Case(
        printed.liquidity_indicator,
        {"volume": 600.0, "price": 20.0, "volatility": 0.1},
        300.0,
        (({"price": 0.0}, NAN), ({"volatility": 0.0}, NAN)),
    ),
    Case(printed.constant_product, {"reserve_x": 30.0, "reserve_y": 40.0}, 1200.0, (({"reserve_x": -1.0}, -40.0),)),
    Case(printed.amount_out, TAKES, 10.0, (({"amount_in": -100.0}, NAN), ({"amount_in": -50.0}, -50.0))),
    Case(
        printed.depth,
        {"price": 4.0, "half_width": 1.0},
        (125 - 12.5 + 10) - (27 - 4.5 + 6),
        (({"half_width": 0.0}, 0.0), ({"half_width": -1.0}, -94.0)),
        first=smile,
    ),
    Case(
        printed.constant_product_liquidity,
        {"price": 4.0, "product": 144.0},
        0.75,
        (({"price": 0.0}, NAN), ({"price": -4.0}, NAN), ({"product": -1.0}, NAN), ({"product": 0.0}, 0.0)),
    ),
    Case(
        printed.constant_product_depth,
        {"price": 5.0, "half_width": 4.0, "product": 144.0},
        8.0,
        (
            ({"half_width": 5.0}, NAN),
            ({"half_width": -5.0}, NAN),
            ({"price": -5.0}, NAN),
            ({"product": -1.0}, NAN),
            ({"half_width": 0.0}, 0.0),
            ({"half_width": -4.0}, -8.0),
            ({"product": 0.0}, 0.0),
        ),
    ),
    Case(
        printed.liquidity_efficiency,
        {"actual_volume": 30.0, "potential_volume": 120.0, "volatility": 0.5},
        0.5,
        (({"potential_volume": 0.0}, NAN), ({"volatility": 0.0}, NAN)),
    ),
    Case(printed.slippage, {"price_change": -3.0, "price": 20.0}, -0.15, (({"price": 0.0}, NAN),)),
    Case(printed.slippage_from_liquidity, {"liquidity": 40.0, "scale": 2.0}, 0.05, (({"liquidity": 0.0}, NAN),)),
    Case(
        printed.withdrawal_pressure,
        {"amounts": np.array([32.0, 1.5, 0.5])},
        34.0,
        (({"amounts": np.zeros(0)}, 0.0), ({"amounts": np.array([2.0, -3.0])}, -1.0)),
    ),
    Case(printed.price_impact, {"withdrawal_pressure": 400.0}, -0.4, first=root_impact),
    Case(
        printed.simulate_stakes,
        {"draws": DRAWS, "mu": 0.5, "sigma": 0.8},
        float(stats.lognorm(s=0.8, scale=math.exp(0.5)).ppf(special.ndtr(DRAWS)).sum()),
        (({"sigma": -0.8}, NAN), ({"sigma": 0.0}, 4 * math.exp(0.5))),
    ),
    Case(
        printed.dynamic_minimum_stake,
        {"initial": 32.0, "validators": 4e6, "volatility": 0.25},
        12.8,
        first=inverse_volatility,
    ),
    Case(
        printed.validator_score,
        {"performance": 0.9, "tenure": 2.0, "reliability": 0.5, "alpha": 0.5, "beta": 0.1, "gamma": 0.3},
        0.8,
        (({"gamma": -0.3}, 0.5),),
    ),
    Case(printed.total_liquidity, {"base": 100.0, "dynamic": 20.0}, 120.0, (({"dynamic": -120.0}, -20.0),)),
    Case(
        printed.queue_priority,
        {"amount": 32.0, "waiting_time": math.e - 1.0, "score": 8.0},
        0.25,
        first=small_and_patient,
    ),
]
TABLE = pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
OUTSIDE = [(case, change, value) for case in CASES for change, value in case.outside]


def as_arrays(arguments: Mapping[str, Any]) -> dict[str, jax.Array]:
    return {name: jnp.asarray(value, float) for name, value in arguments.items()}


def total(case: Case, arguments: Mapping[str, Any]) -> Any:
    return jnp.sum(jnp.asarray(case(arguments)))


# --- Every formula --------------------------------------------------------------------------------------------------


def test_the_table_has_every_formula_and_the_package_every_function():
    covered = {case.name for case in CASES}
    elsewhere = {"is_tolerated", "validator_quality", "simulate_from_draws", "simulate_security_liquidity"}
    assert covered | elsewhere == {function.__name__ for function in FUNCTIONS}
    for chapter in ("security", "liquidity", "pool", "simulation", "suggestions"):
        module = importlib.import_module(f"{printed.__name__}.{chapter}")
        own = {name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__}
        assert {name for name in own if not name.startswith("_")} <= set(printed.__all__)


@TABLE
def test_value(case, tolerance):
    np.testing.assert_allclose(float(total(case, case.arguments)), case.value, rtol=tolerance)


@TABLE
def test_eager_jit_and_vmap_agree(case, x64):
    """In lanes that scale every argument by another factor, as several formulas are ratios."""
    arguments = as_arrays(case.arguments)
    points = [{name: x * lane**i for i, (name, x) in enumerate(arguments.items(), start=1)} for lane in LANES]
    batch = jax.tree.map(lambda *values: jnp.stack(values), *points)
    eager = np.stack([np.asarray(case(point)) for point in points])
    compiled = np.stack([np.asarray(jax.jit(case.__call__)(point)) for point in points])
    mapped = np.asarray(jax.jit(jax.vmap(case.__call__))(batch))
    rounding = 64 * float(np.finfo(np.float64 if x64 else np.float32).eps)
    np.testing.assert_allclose(compiled, eager, rtol=rounding)
    np.testing.assert_allclose(mapped, eager, rtol=rounding)
    assert len(np.unique(eager.reshape(len(LANES), -1), axis=0)) == len(LANES)


@TABLE
@pytest.mark.usefixtures("only_x64")
def test_gradients(case):
    check_grads(functools.partial(total, case), (as_arrays(case.arguments),), order=2, atol=1e-5, rtol=1e-5)


@TABLE
def test_the_precision_of_the_input_is_kept(case):
    """Single precision stays single under x64, under strict promotion."""
    arguments = {name: jnp.asarray(value, jnp.float32) for name, value in case.arguments.items()}
    assert jnp.asarray(case(arguments)).dtype == jnp.float32


@pytest.mark.parametrize(
    ("case", "change", "value"),
    OUTSIDE,
    ids=[f"{case.name}-{'-'.join(f'{k}={v}' for k, v in change.items())}" for case, change, _ in OUTSIDE],
)
def test_outside_and_at_the_edges(case, change, value, tolerance):
    """The value that the docstring says; the gradient is finite, or NaN where the value is."""
    arguments = as_arrays({**case.arguments, **change})
    got, gradient = jax.jit(jax.value_and_grad(functools.partial(total, case)))(arguments)
    np.testing.assert_allclose(float(got), value, rtol=tolerance, atol=1e-12)
    slopes = np.concatenate([np.ravel(slope) for slope in gradient.values()])
    assert np.isfinite(slopes).all() != math.isnan(value)


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__name__)
def test_docstrings_have_their_sections_and_name_what_exists(function):
    text = inspect.getdoc(function) or ""
    found = re.findall(r"^(\w+):", text, flags=re.MULTILINE)
    assert [heading for heading in found if heading in HEADINGS] == list(HEADINGS)
    assert "Source: Micro-staking analysis, section " in text
    paths = re.findall(r"`(jaxstake\.[\w.]+)`", text)
    assert all(hasattr(importlib.import_module(module), name) for module, _, name in (p.rpartition(".") for p in paths))
    protocol = text.split("\nProtocol: ")[1].split("\n\n")[0]
    assert "`jaxstake." in protocol or re.search(r"As (for )?`\w+`", protocol)
    kinds = {parameter.kind for parameter in inspect.signature(function).parameters.values()}
    assert kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


# --- The document's own code ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def document(shared) -> str:
    texts = [path.read_text() for path in sorted((Path(shared) / "documents").glob("*.txt"))]
    (text,) = [text for text in texts if text.startswith("# Mathematical Analysis of Micro-Staking")]
    return text


@pytest.fixture(scope="module")
def code(document) -> list[str]:
    blocks = re.findall(r"^```python\n(.*?)^```", document, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 2
    return blocks


def run(block: str, **known: Any) -> dict[str, Any]:
    names = dict(known)
    exec(block, names)
    return names


@pytest.mark.parametrize(("total_stake", "min_stake"), [(32e6, 32.0), (42e6, 1.0), (1e3, 7.0), (0.0, 32.0)])
def test_byzantine_threshold_is_the_documents_code(code, tolerance, total_stake, min_stake):
    theirs = run(code[0])["calculate_byzantine_threshold"](total_stake, min_stake)
    ours = printed.byzantine_threshold(total_stake=total_stake, min_stake=min_stake)
    np.testing.assert_allclose(float(ours), theirs, rtol=tolerance)


def test_byzantine_threshold_is_nan_where_the_documents_code_stops(code):
    with pytest.raises(ZeroDivisionError):
        run(code[0])["calculate_byzantine_threshold"](32e6, 0.0)
    assert math.isnan(float(printed.byzantine_threshold(total_stake=32e6, min_stake=0.0)))


def test_the_documents_simulation_scores_one_population_and_returns_nothing(code, tolerance):
    seen = []
    seeded = types.SimpleNamespace(random=np.random.RandomState(42))
    names = run(code[1], np=seeded, calculate_security=seen.append, calculate_liquidity=seen.append)
    returned = names["simulate_security_liquidity"]({"mu": 1.2, "sigma": 0.7})
    assert returned == {"security_score": [], "liquidity_score": [], "centralization_risk": []}
    assert len(seen) == 2
    assert seen[0] is seen[1]

    draws = np.random.RandomState(42).standard_normal(10_000)
    ours = printed.simulate_from_draws(
        draws=jnp.asarray(draws), mu=1.2, sigma=0.7, calculate_security=jnp.mean, calculate_liquidity=jnp.max
    )
    np.testing.assert_allclose(ours.stake_distribution, seen[0], rtol=8 * tolerance)
    assert {name: result.tolist() for name, result in ours.results.items()} == returned
    np.testing.assert_allclose(float(ours.security_score), np.mean(seen[0]), rtol=8 * tolerance)
    np.testing.assert_allclose(float(ours.liquidity_score), np.max(seen[0]), rtol=8 * tolerance)


def test_the_documents_simulation_stops_without_the_functions_that_it_never_defines(code):
    with pytest.raises(NameError, match="calculate_security"):
        run(code[1], np=np)["simulate_security_liquidity"]({"mu": 0.0, "sigma": 1.0})


def test_key_findings_are_the_documents_words(document):
    assert [(finding.name, finding.change) for finding in printed.KEY_FINDINGS] == [
        ("attack_cost", 3.0),
        ("entropy", 0.45),
        ("depth", 2.0),
        ("slippage", -0.6),
    ]
    claims = document.split("### 3.2 Key Findings")[1].split("## IV.")[0]
    for finding in printed.KEY_FINDINGS:
        assert finding.section == "3.2"
        assert finding.printed in claims
        assert finding.name in printed.__all__
        (percent,) = re.findall(r"(\d+)%(?! attack)", finding.printed)
        assert abs(finding.change) == int(percent) / 100


def test_key_findings_do_not_fit_together():
    changes = {finding.name: finding.change for finding in printed.KEY_FINDINGS}
    factor = 1.0 + changes["attack_cost"]

    def entropy_change(n):
        before, after = (printed.entropy(shares=jnp.full(size, 1.0 / size)) for size in (n, int(factor * n)))
        return float(after / before) - 1.0

    assert entropy_change(22) < changes["entropy"] < entropy_change(21)
    assert entropy_change(1_000_000) == pytest.approx(0.10, abs=0.005)
    before, after = (
        float(printed.slippage_from_liquidity(liquidity=depth, scale=1.0)) for depth in (1.0, 1.0 + changes["depth"])
    )
    assert after / before - 1.0 == pytest.approx(-2 / 3, rel=1e-5)


# --- Security -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("malicious", "validators", "tolerated"),
    [
        (0, 1, True),
        (1, 1, False),
        (1, 3, False),
        (1, 4, True),
        (333_333, 1_000_000, True),
        (2, 6, False),
        (0, 0, False),
    ],
)
def test_is_tolerated(malicious, validators, tolerated):
    for function in (printed.is_tolerated, jax.jit(printed.is_tolerated)):
        got = function(malicious=malicious, validators=validators)
        assert got.dtype == bool
        assert bool(got) == tolerated
    mapped = jax.vmap(lambda f, n: printed.is_tolerated(malicious=f, validators=n))
    assert mapped(jnp.full(2, malicious), jnp.full(2, validators)).tolist() == [tolerated] * 2


@given(n=st.integers(1, 10**6), share=st.floats(0.0, 1.0))
@settings(max_examples=30, deadline=None)
def test_the_margin_is_positive_where_the_condition_holds(n, share):
    malicious = int(share * n)
    margin = float(printed.byzantine_margin(malicious=malicious, validators=n))
    if abs(margin) > 1e-6:
        assert bool(printed.is_tolerated(malicious=malicious, validators=n)) == (margin > 0)


def test_the_threshold_is_a_third_of_the_validators_and_of_no_more_stake(tolerance):
    """What the lower minimum stake multiplies is the count; the stake behind it stays."""
    for min_stake in (1.0, 8.0, 32.0):
        count = float(printed.byzantine_threshold(total_stake=42e6, min_stake=min_stake))
        everyone = float(printed.max_validators(total_stake=42e6, min_stake=min_stake))
        np.testing.assert_allclose([count / everyone, count * min_stake], [1 / 3, 14e6], rtol=tolerance)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 64])
def test_entropy_of_equal_shares_and_of_one_whale(n, tolerance):
    equal = printed.entropy(shares=jnp.full(n, 1.0 / n))
    np.testing.assert_allclose(float(equal), math.log2(n), rtol=tolerance, atol=1e-6)
    whale, slope = jax.value_and_grad(lambda shares: printed.entropy(shares=shares))(jnp.zeros(n).at[0].set(1.0))
    assert float(whale) == 0.0
    np.testing.assert_allclose(slope, np.eye(n)[0] * -1.0 / math.log(2.0), rtol=tolerance)


@given(st.lists(st.floats(0.0, 1.0, width=32), min_size=1, max_size=8), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_entropy_of_any_shares(weights, random):
    """SciPy's value, between 0 and log2(n), the same in any order and with more empty hands."""
    weights = np.asarray(weights) + 1e-3 * (np.sum(weights) < 1e-3)
    shares = weights / weights.sum()
    bits = float(printed.entropy(shares=jnp.asarray(shares, float)))
    np.testing.assert_allclose(bits, stats.entropy(shares, base=2), rtol=1e-5, atol=1e-5)
    assert -1e-5 <= bits <= math.log2(len(shares)) + 1e-5
    more = [*shares.tolist(), 0.0, 0.0]
    random.shuffle(more)
    value, slope = jax.value_and_grad(lambda shares: printed.entropy(shares=shares))(jnp.asarray(more, float))
    np.testing.assert_allclose(float(value), bits, rtol=1e-5, atol=1e-5)
    assert np.isfinite(slope).all()


def test_one_negative_share_spoils_every_slope():
    slope = jax.grad(lambda shares: printed.entropy(shares=shares))(jnp.array([0.6, 0.5, -0.1]))
    assert np.isnan(slope).all()


def test_quality_is_normal(x64):
    draws = np.asarray(
        printed.validator_quality(key=jax.random.key(3), mean=0.9, standard_deviation=0.05, shape=(20_000,)), float
    )
    assert stats.kstest(draws, stats.norm(0.9, 0.05).cdf).pvalue > 1e-4
    assert printed.validator_quality(key=jax.random.key(3), mean=0.9, standard_deviation=0.05).shape == ()
    assert (draws.dtype == np.float64) or not x64


def test_quality_draws_scale_and_differentiate(tolerance):
    """One key gives the same standard draws in every mode; the mean's slope is 1, the spread's the draw."""

    def draw(mean, spread):
        return printed.validator_quality(key=jax.random.key(1), mean=mean, standard_deviation=spread)

    z = float(draw(0.0, 1.0))
    np.testing.assert_allclose(float(draw(0.9, 0.1)), 0.9 + 0.1 * z, rtol=tolerance)
    np.testing.assert_allclose(jax.grad(draw, argnums=(0, 1))(0.9, 0.0), (1.0, z), rtol=tolerance)
    lanes = jax.jit(jax.vmap(draw))(jnp.array([0.0, 1.0]), jnp.array([1.0, 2.0]))
    np.testing.assert_allclose(lanes, [z, 1.0 + 2.0 * z], rtol=tolerance)
    assert float(draw(0.9, 0.0)) == pytest.approx(0.9)
    flat = printed.validator_quality(key=jax.random.key(1), mean=2, standard_deviation=0, shape=(3, 2))
    assert flat.tolist() == [[2.0, 2.0]] * 3


def test_density_integrates_to_one():
    def density(quality):
        return math.exp(float(printed.validator_quality_log_density(quality=quality, mean=1.0, standard_deviation=0.5)))

    assert integrate.quad(density, -4.0, 6.0)[0] == pytest.approx(1.0, abs=1e-5)


# --- Liquidity ------------------------------------------------------------------------------------------------------


def test_indicators_grow_without_bound_as_the_market_calms():
    for sigma in (1e-2, 1e-4, 1e-6):
        indicator = printed.liquidity_indicator(volume=2.0, price=4.0, volatility=sigma)
        efficiency = printed.liquidity_efficiency(actual_volume=1.0, potential_volume=2.0, volatility=sigma)
        np.testing.assert_allclose([float(indicator), float(efficiency)], 0.5 / sigma, rtol=1e-5)


@given(
    reserve_in=st.floats(1.0, 1e6), reserve_out=st.floats(1.0, 1e6), amount=st.floats(0.0, 1e6), split=st.floats(0, 1)
)
@settings(max_examples=40, deadline=None)
def test_a_trade_keeps_the_product_and_adds_up(reserve_in, reserve_out, amount, split):
    """The invariant holds, two trades pay as much as one, and the way back returns the amount."""
    paid = float(printed.amount_out(reserve_in=reserve_in, reserve_out=reserve_out, amount_in=amount))
    assert 0.0 <= paid <= reserve_out
    product = float(printed.constant_product(reserve_x=reserve_in, reserve_y=reserve_out))
    after = reserve_in + amount, reserve_out - paid
    rest = product / after[0]
    np.testing.assert_allclose(after[1], rest, rtol=1e-4, atol=1e-6 * reserve_out)
    first = float(printed.amount_out(reserve_in=reserve_in, reserve_out=reserve_out, amount_in=split * amount))
    second = printed.amount_out(
        reserve_in=reserve_in + split * amount, reserve_out=reserve_out - first, amount_in=(1.0 - split) * amount
    )
    np.testing.assert_allclose(first + float(second), paid, rtol=1e-4, atol=1e-6 * reserve_out)
    back = printed.amount_out(reserve_in=rest, reserve_out=after[0], amount_in=reserve_out - rest)
    np.testing.assert_allclose(float(back), amount, rtol=1e-3, atol=1e-6 * after[0])


def pool(price):
    return printed.constant_product_liquidity(price=price, product=144.0)


@pytest.mark.parametrize(("price", "half_width"), [(5.0, 4.0), (5.0, 0.5), (3_000.0, 30.0), (0.01, 0.001)])
def test_depth_by_quadrature_is_the_closed_form(price, half_width, tolerance):
    closed = 12.0 / math.sqrt(price - half_width) - 12.0 / math.sqrt(price + half_width)
    slow = integrate.quad(lambda p: 12.0 / (2.0 * p**1.5), price - half_width, price + half_width)[0]
    found = (
        printed.depth(pool, price=price, half_width=half_width, nodes=40),
        printed.constant_product_depth(price=price, half_width=half_width, product=144.0),
    )
    np.testing.assert_allclose([float(value) for value in found], closed, rtol=max(tolerance, 1e-11))
    assert slow == pytest.approx(closed, rel=1e-7)


def test_depth_of_a_narrow_band_is_its_width_times_liquidity(tolerance):
    for half_width in (1e-3, 1e-6, 1e-12):
        closed = printed.constant_product_depth(price=5.0, half_width=half_width, product=144.0)
        for value in (closed, printed.depth(pool, price=5.0, half_width=half_width, nodes=3)):
            expected = 2.0 * half_width * 12.0 / (2.0 * 5.0**1.5)
            np.testing.assert_allclose(float(value), expected, rtol=tolerance + half_width**2)


def test_depth_is_what_the_pool_sells_across_the_band(tolerance):
    """A pool at the low price is paid until it is at the high one, and gives the depth."""
    low, high = 1.0, 9.0
    paid_in = 12.0 * (math.sqrt(high) - math.sqrt(low))
    sold = printed.amount_out(reserve_in=12.0 * math.sqrt(low), reserve_out=12.0 / math.sqrt(low), amount_in=paid_in)
    depth = printed.constant_product_depth(price=5.0, half_width=4.0, product=144.0)
    np.testing.assert_allclose(float(sold), float(depth), rtol=tolerance)


@pytest.mark.parametrize("nodes", [1, 2, 5])
def test_depth_is_exact_for_polynomials(nodes, tolerance):
    coefficients = np.arange(1.0, 2 * nodes + 1)
    exact = np.polynomial.Polynomial(coefficients).integ()

    def polynomial(price):
        return jnp.polyval(jnp.asarray(coefficients[::-1], price.dtype), price)

    value = printed.depth(polynomial, price=0.3, half_width=0.6, nodes=nodes)
    np.testing.assert_allclose(float(value), exact(0.9) - exact(-0.3), rtol=8 * tolerance)


def test_depth_of_a_constant_and_additivity(tolerance):
    assert float(printed.depth(lambda price: 2.5, price=1.0, half_width=2.0)) == pytest.approx(10.0)
    whole = printed.depth(pool, price=5.0, half_width=2.0)
    halves = [printed.depth(pool, price=middle, half_width=1.0) for middle in (4.0, 6.0)]
    np.testing.assert_allclose(float(whole), float(halves[0] + halves[1]), rtol=8 * tolerance)


def test_slope_of_depth_is_the_liquidity_at_the_ends(tolerance):
    slope = jax.grad(lambda width: printed.depth(pool, price=5.0, half_width=width, nodes=48))(4.0)
    np.testing.assert_allclose(float(slope), 6.0 + 6.0 / 27.0, rtol=max(tolerance, 1e-10) * 10)


@pytest.mark.usefixtures("only_x64")
def test_slippage_of_a_small_trade_is_its_size_over_liquidity():
    """In the pool `Delta P / P = dx / (p L(p))` to first order, so the constant of proportionality is the trade."""
    reserve_x, reserve_y = 6.0, 24.0
    price, trade = reserve_y / reserve_x, 1e-6
    product = reserve_x * reserve_y
    change = product / (reserve_x - trade) ** 2 - price
    exact = printed.slippage(price_change=change, price=price)
    first_order = printed.slippage_from_liquidity(
        liquidity=price * printed.constant_product_liquidity(price=price, product=product), scale=trade
    )
    np.testing.assert_allclose(float(first_order), float(exact), rtol=1e-5)


@given(st.lists(st.floats(0.0, 1e4, width=32), max_size=12))
@settings(max_examples=30, deadline=None)
def test_withdrawals_add_up_in_any_order(amounts):
    waiting = jnp.asarray(amounts, float)
    pressure = float(printed.withdrawal_pressure(amounts=waiting))
    np.testing.assert_allclose(pressure, math.fsum(amounts), rtol=1e-5)
    np.testing.assert_allclose(float(printed.withdrawal_pressure(amounts=waiting[::-1])), pressure, rtol=1e-5)
    slope = jax.grad(lambda values: printed.withdrawal_pressure(amounts=values))(waiting)
    np.testing.assert_array_equal(slope, np.ones(len(amounts)))


def test_whole_amounts_are_welcome():
    assert float(printed.withdrawal_pressure(amounts=jnp.array([32, 1]))) == 33.0
    assert float(printed.attack_cost(validators=jnp.asarray(3), cost_per_validator=0.5)) == 1.5


# --- Simulation -----------------------------------------------------------------------------------------------------


def simulate(key, mu, sigma, **more):
    return printed.simulate_security_liquidity(
        key=key, mu=mu, sigma=sigma, calculate_security=jnp.mean, calculate_liquidity=jnp.std, **more
    )


def test_stakes_fed_with_numpys_draws_are_numpys(tolerance):
    theirs = np.random.RandomState(42).lognormal(mean=3.0, sigma=1.5, size=500)
    draws = np.random.RandomState(42).standard_normal(500)
    ours = printed.simulate_stakes(draws=jnp.asarray(draws), mu=3.0, sigma=1.5)
    np.testing.assert_allclose(ours, theirs, rtol=8 * tolerance)


def test_numpy_refuses_a_negative_sigma_that_is_nan_here():
    with pytest.raises(ValueError, match="sigma < 0"):
        np.random.RandomState(0).lognormal(mean=0.0, sigma=-1.0, size=3)
    assert np.isnan(printed.simulate_stakes(draws=jnp.zeros(3), mu=0.0, sigma=-1.0)).all()


def test_simulation_is_one_lognormal_population():
    result = simulate(jax.random.key(0), 1.0, 0.5)
    assert result.stake_distribution.shape == (10_000,)
    assert stats.kstest(np.log(result.stake_distribution), stats.norm(1.0, 0.5).cdf).pvalue > 1e-4
    np.testing.assert_allclose(float(result.security_score), math.exp(1.125), rtol=0.02)


def test_what_the_simulation_returns_in_print_is_empty():
    results = simulate(jax.random.key(0), 1.0, 0.5).results
    assert {name: result.shape for name, result in results.items()} == {
        "security_score": (0,),
        "liquidity_score": (0,),
        "centralization_risk": (0,),
    }


def test_simulation_in_every_mode(tolerance):
    """The draws follow from the key alone, so jit and vmap see the same ones, and sweeps share them."""
    key = jax.random.key(5)
    run_once = functools.partial(simulate, n_simulations=50)
    eager = [run_once(key, mu, 0.3) for mu in (0.0, 1.0)]
    mapped = jax.jit(jax.vmap(run_once, in_axes=(None, 0, None)))(key, jnp.array([0.0, 1.0]), 0.3)
    for lane, expected in enumerate(eager):
        np.testing.assert_allclose(mapped.stake_distribution[lane], expected.stake_distribution, rtol=8 * tolerance)
        np.testing.assert_allclose(mapped.security_score[lane], expected.security_score, rtol=8 * tolerance)
    assert mapped.results["centralization_risk"].shape == (2, 0)
    scale = float(eager[1].liquidity_score / eager[0].liquidity_score)
    assert scale == pytest.approx(math.e, rel=1e-4)
    spread = jax.vmap(lambda key: run_once(key, 0.0, 0.3).security_score)(jax.random.split(key, 20))
    assert float(spread.std()) > 0.0


@pytest.mark.usefixtures("only_x64")
def test_scores_differentiate_through_the_draws():
    def score(mu, sigma):
        return simulate(jax.random.key(5), mu, sigma, n_simulations=50).security_score

    check_grads(score, (0.2, 0.7), order=2, atol=1e-5, rtol=1e-5)
    assert float(jax.grad(score)(0.2, 0.7)) == pytest.approx(float(score(0.2, 0.7)))
    assert np.isfinite(jax.grad(score, argnums=1)(0.2, 0.0))


def test_scores_may_have_any_form_and_names_reach_every_leaf():
    result = printed.simulate_from_draws(
        draws=jnp.zeros(3),
        mu=0.0,
        sigma=1.0,
        calculate_security=lambda stakes: {"top": stakes.max()},
        calculate_liquidity=jnp.cumsum,
    )
    assert result.liquidity_score.tolist() == [1.0, 2.0, 3.0]
    assert {"security_score.top", "results.centralization_risk"} <= set(leaves.names(result))


# --- Suggestions ----------------------------------------------------------------------------------------------------


def test_arguments_reach_the_suggested_functions_in_the_printed_order():
    minimum = printed.dynamic_minimum_stake(lambda n, sigma: n - sigma, initial=2.0, validators=5.0, volatility=1.0)
    assert float(minimum) == 8.0
    place = printed.queue_priority(lambda w, t, s: w + 10 * t + 100 * s, amount=1.0, waiting_time=2.0, score=3.0)
    assert float(place) == 321.0


@given(marks=st.tuples(*[st.floats(-10, 10)] * 3), weights=st.tuples(*[st.floats(-10, 10)] * 3))
@settings(max_examples=30, deadline=None)
def test_scores_are_inner_products(marks, weights):
    def score(marks, weights):
        names = ("performance", "tenure", "reliability", "alpha", "beta", "gamma")
        return float(printed.validator_score(**dict(zip(names, (*marks, *weights), strict=True))))

    np.testing.assert_allclose(score(marks, weights), np.dot(marks, weights), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(score(marks[::-1], weights[::-1]), score(marks, weights), rtol=1e-4, atol=1e-4)
