"""Derivatives by name against closed forms and finite differences, on toy models and on the APR."""

from __future__ import annotations

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxstake.analysis.sensitivity import (
    elasticity,
    gradient,
    hessian,
    hessian_table,
    jacobian,
    table,
    tornado,
    value_and_gradient,
    with_gradient,
)
from jaxstake.analysis.sweep import sweep
from jaxstake.core import leaves
from jaxstake.core.domain import FRACTION, POSITIVE, PROPER_FRACTION, Domain
from jaxstake.core.pytree import branch, leaf, pytree
from jaxstake.economy.apr import apr
from jaxstake.economy.scenario import Scenario


@pytree
class Inner:
    x: Any = leaf(default=2.0, unit="m", domain=POSITIVE, meaning="length")
    y: Any = leaf(default=3.0, unit="s", domain=FRACTION)


@pytree
class Point:
    inner: Inner = branch(default_factory=lambda: Inner(y=0.5))
    z: Any = leaf(default=4.0, domain=PROPER_FRACTION)


def quadratic(at: Point) -> Any:
    """Gradient (2x + 3y, 3x - 8y, 0), Hessian [[2, 3], [3, -8]]."""
    x, y = at.inner.x, at.inner.y
    return x * x + 3.0 * x * y - 4.0 * y * y + 0.0 * at.z


def power(at: dict[str, Any]) -> Any:
    return at["scale"] * at["x"] ** at["exponent"]


def several(at: dict[str, Any]) -> dict[str, Any]:
    """Outputs whose order is not alphabetical, one of them nested."""
    return {"sum": at["y"] + at["x"], "parts": {"y": 3.0 * at["y"], "x": at["x"] ** 2}, "all": at["x"] * at["y"]}


@functools.cache
def ordinary() -> Scenario:
    """Every leaf well inside its domain, and none at zero, where a two-sided difference would leave it."""
    values = {
        "network.participation": 0.97,
        "network.block_rate": 0.95,
        "network.exit_queue_eth": 3e6,
        "network.tips_per_block_eth": 0.01,
        "validator.uptime": 0.93,
        "hazards.slashing_probability": 0.02,
        "hazards.leak_probability": 0.01,
        "costs.commission": 0.07,
        "costs.annual_cost_eth": 0.05,
    }
    return leaves.replace(Scenario(), values)


@functools.cache
def perfect() -> Scenario:
    return leaves.replace(
        Scenario(), {"network.participation": 1.0, "network.block_rate": 1.0, "validator.uptime": 1.0}
    )


_net = jax.jit(lambda scenario: apr(scenario).net)


def _difference(function: Any, base: Any, name: str, step: float = 2e-4) -> float:
    """Central difference of fourth order, relative step."""
    x = float(leaves.get(base, name))
    h = step * abs(x)
    at = [float(function(leaves.replace(base, {name: x + k * h}))) for k in (-2, -1, 1, 2)]
    return (at[0] - 8.0 * at[1] + 8.0 * at[2] - at[3]) / (12.0 * h)


# Closed forms.


def test_gradient_of_a_quadratic(tolerance: float) -> None:
    value, slopes = value_and_gradient(quadratic, Point())
    assert list(slopes) == ["inner.x", "inner.y", "z"]
    np.testing.assert_allclose(value, 4.0 + 3.0 - 1.0, rtol=tolerance)
    np.testing.assert_allclose(list(slopes.values()), [5.5, 2.0, 0.0], rtol=tolerance)


def test_hessian_of_a_quadratic(tolerance: float) -> None:
    second = hessian(quadratic, Point(), names=["inner.y", "inner.x"])
    found = [[float(second[a][b]) for b in ("inner.y", "inner.x")] for a in ("inner.y", "inner.x")]
    np.testing.assert_allclose(found, [[-8.0, 3.0], [3.0, 2.0]], rtol=tolerance)


def test_hessian_table_is_labelled() -> None:
    array = hessian_table(quadratic, Point(), names=["inner.x", "inner.y"])
    assert float(array.sel(leaf="inner.x", other="inner.y")) == 3.0
    assert array["unit"].values.tolist() == ["m", "s"]
    assert array["other_unit"].values.tolist() == ["m", "s"]


@settings(deadline=None, max_examples=50)
@given(
    scale=st.floats(0.1, 100.0), x=st.floats(0.1, 10.0), exponent=st.floats(-4.0, 4.0).filter(lambda e: abs(e) > 0.01)
)
def test_elasticity_of_a_power_law_is_its_exponent(scale: float, x: float, exponent: float) -> None:
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    found = elasticity(power, {"scale": scale, "x": x, "exponent": exponent}, names=["scale", "x"])
    np.testing.assert_allclose(found["scale"], 1.0, rtol=8 * eps)
    np.testing.assert_allclose(found["x"], exponent, rtol=8 * eps)


@settings(deadline=None, max_examples=50)
@given(st.floats(-10.0, 10.0), st.floats(-10.0, 10.0))
def test_jacobian_in_the_order_asked_for(x: float, y: float) -> None:
    base = {"y": y, "x": x}
    rows = jacobian(several, base, names=["y", "x"], outputs=["sum", "parts.y", "parts.x", "all"])
    expected = {"sum": (1, 1), "parts.y": (3, 0), "parts.x": (0, 2 * x), "all": (x, y)}
    assert list(rows) == list(expected)
    assert all(list(row) == ["y", "x"] for row in rows.values())
    for name, row in rows.items():
        np.testing.assert_allclose(list(row.values()), expected[name], rtol=1e-6, atol=1e-30)
    single = gradient(several, base, output="parts.x")
    assert (float(single["x"]), float(single["y"])) == (float(rows["parts.x"]["x"]), 0.0)


def test_jacobian_defaults_to_all_outputs() -> None:
    assert set(jacobian(several, {"x": 1.0, "y": 2.0})) == {"sum", "parts.y", "parts.x", "all"}


def test_elasticity_is_zero_for_a_leaf_at_zero_and_not_finite_for_an_output_at_zero() -> None:
    found = elasticity(lambda at: 1.0 + at["x"], {"x": 0.0})
    assert float(found["x"]) == 0.0
    assert not np.isfinite(elasticity(lambda at: at["x"] - 2.0, {"x": 2.0})["x"])


# Numbers of every kind.


def test_python_integers_are_numbers_and_integer_arrays_are_not() -> None:
    def model(at: dict[str, Any]) -> Any:
        return at["x"] ** 2 * jnp.asarray(at["table"])[at["row"]] * jnp.where(at["flag"], 1.0, 2.0)

    rows = jnp.arange(3.0)
    base = {"x": 3, "row": jnp.asarray(2, jnp.int32), "flag": True, "table": rows}
    assert {name: float(value) for name, value in gradient(model, base).items()} == {"x": 12.0}
    assert float(gradient(lambda at: at["n"] * 1.0, {"n": 3}, names="n")["n"]) == 1.0
    as_float_of_integer = gradient(lambda at: at["n"] * at["n"], {"n": jnp.asarray(3, jnp.int32)}, names=["n"])
    assert float(as_float_of_integer["n"]) == 6.0
    for name in ("flag", "table"):
        with pytest.raises(ValueError, match=f"leaf '{name}' must be a number without axes"):
            gradient(model, base, names=[name])


def test_a_leaf_keeps_its_precision_beside_python_numbers() -> None:
    base = {"scale": jnp.asarray(2.0, jnp.float32), "x": 3.0, "exponent": 2}
    slopes = gradient(power, base, names=["scale", "x"])
    assert slopes["scale"].dtype == jnp.float32
    swings = tornado(power, base, 0.1, names=["scale", "x"])
    np.testing.assert_allclose(swings.sel(leaf="x")["swing"], 2.0 * (3.3**2 - 2.7**2), rtol=1e-5)


def test_an_integer_result_has_a_zero_gradient() -> None:
    assert float(gradient(lambda at: jnp.where(at["x"] > 0, 1, 0), {"x": 3.0})["x"]) == 0.0


def test_no_leaves_at_all() -> None:
    assert gradient(quadratic, Point(), names=[]) == {}
    assert jacobian(several, {"x": 1.0, "y": 2.0}, names=[], outputs="sum") == {"sum": {}}
    assert table(quadratic, Point(), names=[]).sizes["leaf"] == 0
    assert tornado(quadratic, Point(), {}).sizes["leaf"] == 0


# Names and bad values.


@pytest.mark.parametrize("driver", [gradient, elasticity, hessian, jacobian, table])
def test_an_unknown_leaf_lists_near_names(driver: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown leaf 'network.total_stake'; did you mean network.total_stake_eth"):
        driver(apr, Scenario(), names=["network.total_stake"])


def test_unknown_names_elsewhere() -> None:
    with pytest.raises(ValueError, match=r"unknown output 'nett'; did you mean net\b"):
        gradient(apr, Scenario(), names=["validator.uptime"], output="nett")
    with pytest.raises(ValueError, match="unknown output ''; known: source"):
        gradient(apr, Scenario(), names=["validator.uptime"])
    with pytest.raises(ValueError, match=r"unknown output 'net'"):
        gradient(quadratic, Point(), output="net")
    with pytest.raises(ValueError, match=r"unknown output 'al'; did you mean all"):
        jacobian(several, {"x": 1.0, "y": 2.0}, outputs=["al"])
    with pytest.raises(ValueError, match=r"unknown leaf 'validator.up'"):
        tornado(apr, Scenario(), {"validator.up": (0.9, 1.0)}, "net")


def test_a_bad_base_raises_the_models_own_error() -> None:
    bad = leaves.replace(Scenario(), {"validator.uptime": 1.5})
    drivers = [gradient, elasticity, hessian, table, functools.partial(tornado, ranges=0.1)]
    for driver in drivers:
        with pytest.raises(ValueError, match=r"validator.uptime must be in \[0, 1\], got 1.5"):
            driver(apr, bad, output="net", names=["network.total_stake_eth"])
    with pytest.raises(ValueError, match=r"network.total_stake_eth must be at least validator.effective_balance_eth"):
        jacobian(apr, leaves.replace(Scenario(), {"network.total_stake_eth": 1.0}), names=["validator.uptime"])


@pytest.mark.parametrize("pair", [(1.0, 0.5), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_range_must_be_finite_and_low_first(pair: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match=r"range of 'inner.y' must be finite and low first"):
        tornado(quadratic, Point(), {"inner.y": pair})


# The APR.


@pytest.mark.usefixtures("only_x64")
def test_apr_gradient_equals_differences_in_every_leaf() -> None:
    base = ordinary()
    value, slopes = value_and_gradient(apr, base, output="net")
    assert "fork.base_reward_factor" in slopes
    assert list(slopes) == leaves.names(base)
    for name, slope in slopes.items():
        scale = abs(float(value) / float(leaves.get(base, name))) if leaves.get(base, name) else 1.0
        difference = _difference(_net, base, name) if leaves.get(base, name) else 0.0
        np.testing.assert_allclose(slope, difference, rtol=1e-8, atol=1e-10 * scale, err_msg=name)


SOME = ("network.total_stake_eth", "network.block_rate", "validator.uptime", "block_value.log_std", "costs.commission")


@pytest.mark.usefixtures("only_x64")
def test_apr_hessian_is_symmetric_and_equals_differences_of_the_gradient() -> None:
    base = ordinary()
    second = hessian(apr, base, names=SOME, output="net")
    assert list(second) == list(SOME)
    for a in SOME:
        x = leaves.get(base, a)
        for b in SOME:
            scale = abs(float(apr(base).net) / x / leaves.get(base, b))
            np.testing.assert_allclose(second[a][b], second[b][a], rtol=1e-10, atol=1e-14 * scale)

            def slope(at: Scenario, b: str = b) -> Any:
                return gradient(apr, at, names=SOME, output="net")[b]

            np.testing.assert_allclose(second[a][b], _difference(slope, base, a), rtol=1e-7, atol=1e-10 * scale)


def test_apr_jacobian_rows_add_up_as_the_components_do(x64: bool) -> None:
    names = ["network.total_stake_eth", "validator.uptime", "fork.base_reward_factor", "costs.annual_cost_eth"]
    rows = jacobian(apr, ordinary(), names=names)
    parts = ("source", "target", "head", "sync", "proposer", "mev", "tips", "missed")
    parts += ("slashing", "leak", "costs", "commission")
    eps = float(jnp.finfo(jnp.result_type(float)).eps)
    for name in names:
        terms = np.array([float(rows[part][name]) for part in parts])
        assert abs(terms.sum() - float(rows["net"][name])) <= 8 * eps * np.abs(terms).sum(), name
    slopes = gradient(apr, ordinary(), names=names, output="net")
    for name in names:
        np.testing.assert_allclose(rows["net"][name], slopes[name], rtol=1e-12 if x64 else 1e-5)


def test_apr_elasticities_are_the_exponents_of_its_laws(tolerance: float) -> None:
    names = ["network.total_stake_eth", "fork.base_reward_factor"]
    consensus = elasticity(apr, perfect(), names=names, output="consensus")
    np.testing.assert_allclose(consensus["network.total_stake_eth"], -0.5, rtol=tolerance)
    np.testing.assert_allclose(consensus["fork.base_reward_factor"], 1.0, rtol=tolerance)
    mev = elasticity(apr, Scenario(), names=[*names, "block_value.log_mean"], output="mev")
    np.testing.assert_allclose(mev["network.total_stake_eth"], -1.0, rtol=tolerance)
    assert float(mev["fork.base_reward_factor"]) == 0.0
    np.testing.assert_allclose(mev["block_value.log_mean"], Scenario().block_value.log_mean, rtol=tolerance)


def test_apr_table_holds_what_moves_the_output(tolerance: float) -> None:
    found = table(apr, Scenario(), output="net")
    shown = found["leaf"].values.tolist()
    assert {"network.total_stake_eth", "costs.commission", "fork.base_reward_factor"} <= set(shown)
    assert "fork.max_deposits" not in shown
    assert "network.entry_queue_eth" not in shown
    assert shown == [name for name in leaves.names(Scenario()) if name in shown]
    row = found.sel(leaf="network.total_stake_eth")
    assert (row["unit"].item(), row["meaning"].item()) == ("ETH", "total active effective balance")
    stake, net = Scenario().network.total_stake_eth, float(_net(Scenario()))
    np.testing.assert_allclose(row["value"], stake, rtol=1e-7)
    np.testing.assert_allclose(row["elasticity"], row["gradient"] * stake / net, rtol=tolerance)
    np.testing.assert_allclose(row["change_per_percent"], row["gradient"] * stake / 100, rtol=tolerance)
    assert (found.attrs["output"], found.attrs["unit"]) == ("net", "1/year")
    np.testing.assert_allclose(found.attrs["value"], net, rtol=tolerance)
    assert table(apr, Scenario(), ["fork.max_deposits"], "net")["gradient"].values.tolist() == [0.0]


# Tornado.


def test_tornado_equals_direct_evaluation_and_is_sorted(tolerance: float) -> None:
    ranges = {
        "network.block_rate": (0.98, 1.0),
        "validator.uptime": (0.9, 0.99),
        "block_value.log_mean": (-6.0, -3.0),
        "fork.base_reward_factor": (32.0, 64.0),
    }
    found = tornado(apr, Scenario(), ranges, "net")
    assert set(found["leaf"].values) == set(ranges)
    assert np.all(np.diff(found["swing"].values) <= 0)
    assert not found["clipped"].any()
    for name, (low, high) in ranges.items():
        row = found.sel(leaf=name)
        assert (row["low"].item(), row["high"].item()) == (low, high)
        for end, value in (("output_low", low), ("output_high", high)):
            direct = apr(leaves.replace(Scenario(), {name: value})).net
            np.testing.assert_allclose(row[end], direct, rtol=tolerance)
        np.testing.assert_allclose(row["swing"], abs(row["output_high"] - row["output_low"]))
    np.testing.assert_allclose(found.attrs["value"], apr(Scenario()).net, rtol=tolerance)


def test_tornado_clips_to_the_domain_and_says_so() -> None:
    found = tornado(apr, Scenario(), 0.1, "net", names=["validator.uptime", "network.total_stake_eth"])
    assert found["clipped"].sel(leaf="validator.uptime").item()
    assert found["high"].sel(leaf="validator.uptime").item() == 1.0
    assert found["low"].sel(leaf="validator.uptime").item() == pytest.approx(0.9 * 0.9965)
    assert not found["clipped"].sel(leaf="network.total_stake_eth").item()


def test_tornado_stays_inside_open_ends() -> None:
    def finite(at: Point) -> Any:
        return jnp.log(at.inner.x) + jnp.log(1.0 - at.z)

    found = tornado(finite, Point(z=0.5), {"inner.x": (-1.0, 1.0), "z": (0.0, 2.0)})
    assert found["clipped"].all()
    assert 0.0 < found["low"].sel(leaf="inner.x").item() < 1e-30
    assert 1.0 - 1e-6 < found["high"].sel(leaf="z").item() < 1.0
    assert np.isfinite(found["swing"]).all()


def test_tornado_puts_ends_that_break_a_joint_rule_last() -> None:
    ranges = {"validator.effective_balance_eth": (32.0, 4096.0), "validator.uptime": (0.9, 1.0)}
    found = tornado(apr, Scenario(), ranges, "net")
    assert found["leaf"].values.tolist() == ["validator.uptime", "validator.effective_balance_eth"]
    assert np.isnan(found["output_high"].values).tolist() == [False, True]


def test_tornado_by_width_shows_only_what_moves_unless_named() -> None:
    assert tornado(quadratic, Point(), 0.1)["leaf"].values.tolist() == ["inner.x", "inner.y"]
    assert tornado(quadratic, Point(), 0.1, names=["z", "inner.x"])["leaf"].values.tolist() == ["inner.x", "z"]


def test_every_domain_clips_to_itself() -> None:
    for domain in (FRACTION, POSITIVE, PROPER_FRACTION, Domain(2.0, 3.0, open_low=True, open_high=True)):
        at = {"inner.x": 0.5, "inner.y": 0.5, "z": 0.5}

        @pytree
        class One:
            x: Any = leaf(default=0.5, domain=domain)

        found = tornado(lambda one: 0.0 * one.x, One(x=2.5), {"x": (-5.0, 5.0)})
        lowest = np.asarray(found["low"].item(), jnp.result_type(float))
        highest = np.asarray(found["high"].item(), jnp.result_type(float))
        assert domain.contains(lowest), (domain, lowest, at)
        assert domain.contains(highest), (domain, highest, at)


# Transforms and compilation.


def test_gradient_under_vmap_and_jit_equals_the_direct_one(tolerance: float) -> None:
    stakes = jnp.array([1e7, 3e7, -1.0])
    names = ("network.total_stake_eth", "validator.uptime")

    def at(stake: jax.Array) -> Any:
        return gradient(apr, leaves.replace(Scenario(), {names[0]: stake}), names=names, output="net")

    lanes = jax.jit(jax.vmap(at))(stakes)
    for lane in (0, 1):
        direct = gradient(apr, leaves.replace(Scenario(), {names[0]: float(stakes[lane])}), names=names, output="net")
        for name in names:
            np.testing.assert_allclose(lanes[name][lane], direct[name], rtol=tolerance)
    assert all(np.isnan(lanes[name][2]) for name in names)


def test_with_gradient_is_a_model_that_sweeps(tolerance: float) -> None:
    names = ["network.total_stake_eth", "validator.uptime"]
    model = with_gradient(apr, names, "net")
    found = sweep(model, Scenario(), {"validator.uptime": [0.9, 0.95, 1.0]})
    assert set(found.data_vars) == {"value", "gradient.network.total_stake_eth", "gradient.validator.uptime"}
    for uptime in (0.9, 1.0):
        base = leaves.replace(Scenario(), {"validator.uptime": uptime})
        value, slopes = value_and_gradient(apr, base, names=names, output="net")
        row = found.sel({"validator.uptime": uptime})
        np.testing.assert_allclose(row["value"], value, rtol=tolerance)
        for name in names:
            np.testing.assert_allclose(row[f"gradient.{name}"], slopes[name], rtol=tolerance)


def test_with_gradient_is_the_same_model_when_made_twice() -> None:
    first, second = with_gradient(apr, ["validator.uptime"], "net"), with_gradient(apr, "validator.uptime", "net")
    assert first == second
    assert hash(first) == hash(second)
    assert repr(first) == "with_gradient(jaxstake.economy.apr.apr, ('validator.uptime',), 'net')"
    assert with_gradient(quadratic)(Point())["gradient.inner.y"] == 2.0


@pytest.mark.parametrize(
    "driver",
    [gradient, elasticity, hessian, jacobian, table, hessian_table, functools.partial(tornado, ranges=0.1)],
)
def test_new_values_do_not_recompile(driver: Any) -> None:
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def once(at: Point) -> Any:
        return at.inner.x ** (2.0 * at.inner.y) * at.z

    for x in (2.0, 3.0, 4.5):
        driver(once, Point(inner=Inner(x=x, y=0.25)), names=["inner.x", "z"])


def test_new_ranges_do_not_recompile() -> None:
    chex.clear_trace_counter()

    @chex.assert_max_traces(n=1)
    def once(at: Point) -> Any:
        return at.inner.x**2

    swings = [float(tornado(once, Point(), {"inner.x": (1.0, high)})["swing"][0]) for high in (2.0, 3.0, 4.0)]
    np.testing.assert_allclose(swings, [3.0, 8.0, 15.0], rtol=1e-6)
