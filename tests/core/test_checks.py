from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import checks
from jaxstake.core.checks import (
    checked,
    confirm,
    established,
    every,
    in_domains,
    is_traced,
    poison,
    require,
    require_domain,
)
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE
from jaxstake.core.pytree import branch, leaf, pytree


@pytree
class Inner:
    share: float = leaf(default=0.5, domain=FRACTION)


@pytree
class Outer:
    stake: float = leaf(default=10.0, domain=POSITIVE)
    free: float = leaf(default=-7.0)
    absent: float = leaf(default=None, domain=POSITIVE)
    inner: Inner = branch(default_factory=Inner)


def root(x):
    return jnp.sqrt(require_domain("x", x, POSITIVE))


# --- confirm, poison, require ----------------------------------------------------------------------------------------


def test_confirm_returns_the_condition_and_poison_the_value():
    assert confirm(True, "fine") is True
    assert confirm(jnp.asarray([True, True]), "fine") is True
    assert poison(True, 3.0) == 3.0
    assert isinstance(poison(True, 3.0), float)
    assert np.array_equal(poison(jnp.asarray([True, False]), jnp.full(2, 3.0)), [3.0, np.nan], equal_nan=True)
    assert jax.jit(lambda x: confirm(x > 0, "x"))(jnp.asarray([1.0, -1.0])).tolist() == [True, False]
    slope = jax.vmap(jax.grad(lambda x: poison(x > 0, x)))(jnp.asarray([1.0, -1.0]))
    assert np.array_equal(slope, [1.0, np.nan], equal_nan=True)


def test_every_joins_conditions_known_and_traced():
    assert every() is True
    assert every(True, True) is True
    assert every(True, jnp.asarray([True, False])).tolist() == [True, False]

    def both(x, y):
        return every(True, y > 0, x > 0, y < 9, x < 9)

    xs, ys = jnp.asarray([1.0, -1.0, 1.0, jnp.nan]), jnp.asarray([1.0, 1.0, 10.0, 1.0])
    expected = [True, False, False, False]
    assert jax.jit(jax.vmap(both))(xs, ys).tolist() == expected
    assert jax.vmap(both, in_axes=(0, None))(xs, 1.0).tolist() == [True, False, True, False]
    assert jax.jit(jax.vmap(jax.jit(both), in_axes=(None, 0)))(1.0, ys).tolist() == [True, True, False, True]


def test_require_on_concrete_conditions():
    assert require(True, "fine") == 1.0
    assert require(jnp.asarray([True, True]), "fine") == 1.0
    with pytest.raises(ValueError, match=r"^a must be below b = 1.0, got 2.0$"):
        require(2.0 < 1.0, "a must be below b = {b}, got {a}", a=2.0, b=1.0)
    with pytest.raises(ValueError, match=r"^always wrong$"):
        require(np.bool_(False), "always wrong")


def test_require_quotes_the_first_bad_element():
    values = jnp.asarray([1.0, -2.0, -3.0])
    with pytest.raises(ValueError, match=r"^got -2.0 of 7$"):
        require(values > 0, "got {value} of {size}", value=values, size=7)


def test_require_traced_is_one_or_nan():
    found = jax.jit(lambda x: require(x > 0, "x"))(jnp.asarray([1.0, -1.0, jnp.nan]))
    assert np.array_equal(found, [1.0, np.nan, np.nan], equal_nan=True)


def test_is_traced_looks_into_containers():
    assert not is_traced(1.0, [jnp.ones(2)], Outer())
    seen = []
    jax.jit(lambda x: seen.append(is_traced({"a": [x]}, 1.0)) or x)(1.0)
    assert seen == [True]


# --- require_domain -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [-0.5, 0.0, float("nan"), float("inf")])
def test_concrete_values_raise_with_name_rule_and_value(bad):
    for value in (bad, jnp.asarray(bad), np.float32(bad)):
        with pytest.raises(ValueError, match=rf"^x must be greater than 0 and finite, got {bad}$"):
            require_domain("x", value, POSITIVE)
    assert require_domain("x", 0.25, POSITIVE) == 0.25


def test_an_eager_gradient_knows_its_value():
    with pytest.raises(ValueError, match=r"x must be greater than 0 and finite, got -1.0"):
        jax.grad(root)(-1.0)
    with pytest.raises(ValueError, match=r"got -1.0"):
        jax.jvp(root, (-1.0,), (1.0,))
    assert float(jax.grad(root)(4.0)) == 0.25


@pytest.mark.parametrize("bad", [-4.0, 0.0, jnp.nan, jnp.inf])
def test_traced_lanes_are_nan_in_value_and_gradient(bad):
    lanes = jnp.asarray([4.0, bad, 16.0])
    value, gradient = jax.jit(jax.vmap(jax.value_and_grad(root)))(lanes)
    assert np.array_equal(value, [2.0, np.nan, 4.0], equal_nan=True)
    assert np.array_equal(gradient, [0.25, np.nan, 0.125], equal_nan=True)
    assert np.isnan(jax.jit(root)(bad))
    forward = jax.jit(lambda x: jax.jvp(root, (x,), (1.0,)))(bad)
    assert np.all(np.isnan(forward))
    assert np.isnan(jax.jit(jax.grad(jax.grad(root)))(bad))


def test_poison_passes_through_selections():
    """The bad value is multiplied, not selected away: a later branch cannot turn it into a plausible gradient."""

    def capped(x):
        return jnp.minimum(require_domain("x", x, NON_NEGATIVE), 2.0)

    value, gradient = jax.vmap(jax.value_and_grad(capped))(jnp.asarray([1.0, 3.0, -1.0]))
    assert np.array_equal(value, [1.0, 2.0, np.nan], equal_nan=True)
    assert np.array_equal(gradient, [1.0, 0.0, np.nan], equal_nan=True)


def test_good_values_pass_unchanged_in_their_own_precision():
    assert require_domain("x", 3, POSITIVE) == 3
    single = jnp.asarray(0.1, jnp.float32)
    for function in (lambda x: require_domain("x", x, FRACTION), jax.jit(lambda x: require_domain("x", x, FRACTION))):
        found = function(single)
        assert found.dtype == jnp.float32
        assert found == single


def test_integers_become_floats(x64):
    """Their product with the factor 1 or NaN would have no type."""
    default = jnp.float64 if x64 else jnp.float32
    for integer in (jnp.asarray(3), np.int32(3), np.arange(3) + 1):
        found = require_domain("n", integer, POSITIVE)
        assert found.dtype == default
        assert np.array_equal(found, integer)
    assert jax.jit(root)(jnp.asarray(4)) == 2.0
    lanes = jax.vmap(root)(jnp.asarray([4, -4]))
    assert np.array_equal(lanes, [2.0, np.nan], equal_nan=True)


# --- in_domains and established --------------------------------------------------------------------------------------


def test_in_domains_names_the_leaf():
    assert in_domains(Outer()) is True
    with pytest.raises(ValueError, match=r"^inner.share must be in \[0, 1\], got 1.5$"):
        in_domains(Outer(inner=Inner(share=1.5)))
    with pytest.raises(ValueError, match=r"^stake must be greater than 0 and finite, got -1.0$"):
        in_domains(Outer(stake=jnp.asarray([1.0, -1.0])))
    with pytest.raises(ValueError, match="absent must be greater than 0"):
        in_domains(Outer(absent=0.0))
    assert in_domains(Outer(stake=-1.0), skip=("stake",)) is True
    assert in_domains({"one": Inner(share=0.0)}) is True


def test_in_domains_traced_is_one_condition_for_all_leaves():
    outer = Outer(stake=jnp.asarray([1.0, -1.0, 1.0, jnp.nan]), inner=Inner(share=jnp.asarray([0.5, 0.5, 2.0, 0.5])))
    axes = jax.tree.map(lambda x: 0 if jnp.ndim(x) else None, outer)
    assert jax.vmap(in_domains, in_axes=(axes,))(outer).tolist() == [True, False, False, False]
    factor = jax.vmap(lambda o: poison(in_domains(o), 1.0), in_axes=(axes,))(outer)
    assert np.array_equal(factor, [1.0, np.nan, np.nan, np.nan], equal_nan=True)


def test_established_trusts_the_caller_within_the_block():
    with established():
        assert require_domain("x", -1.0, POSITIVE) == -1.0
        with established():
            assert require_domain("x", -1.0, POSITIVE) == -1.0
        assert require_domain("x", -1.0, POSITIVE) == -1.0
    with pytest.raises(ValueError, match="x must be"):
        require_domain("x", -1.0, POSITIVE)
    with pytest.raises(RuntimeError, match="inside"), established():
        raise RuntimeError("inside")
    with pytest.raises(ValueError, match="x must be"):
        require_domain("x", -1.0, POSITIVE)


def test_established_holds_in_its_own_thread_only():
    raised = []

    def elsewhere():
        try:
            require_domain("x", -1.0, POSITIVE)
        except ValueError as error:
            raised.append(str(error))

    with established():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert raised == ["x must be greater than 0 and finite, got -1.0"]


def test_established_leaves_no_checks_in_the_trace():
    """A model that validates once carries one check per leaf, not one per formula."""

    def model(x):
        with established():
            return root(x) + root(x)

    assert "nan" not in str(jax.make_jaxpr(model)(1.0))
    assert "nan" in str(jax.make_jaxpr(root)(1.0))


# --- checked --------------------------------------------------------------------------------------------------------


def test_checked_raises_the_message_of_the_traced_check():
    with pytest.raises(ValueError, match=r"^x must be greater than 0 and finite, got -4.0$"):
        checked(jax.jit(root))(-4.0)
    with pytest.raises(ValueError, match=r"got -9.0$"):
        checked(jax.vmap(root))(jnp.asarray([1.0, -9.0, 4.0]))
    with pytest.raises(ValueError, match=r"got nan$"):
        checked(jax.jit(jax.vmap(jax.jit(root))))(jnp.asarray([1.0, jnp.nan]))
    with pytest.raises(ValueError, match=r"got -1.0$"):
        checked(jax.grad(root))(-1.0)
    with pytest.raises(ValueError, match=r"^inner.share must be in \[0, 1\], got 3.0$"):
        checked(lambda outer: poison(in_domains(outer), outer.stake))(Outer(inner=Inner(share=3.0)))


def test_checked_quotes_the_first_bad_element_of_an_array():
    with pytest.raises(ValueError, match=r"^x must be greater than 0 and finite, got -2.0$"):
        checked(root)(jnp.asarray([1.0, -2.0, -3.0]))
    with pytest.raises(ValueError, match=r"^a = 5.0 above b = 3.0$"):
        checked(lambda a, b: require(a < b, "a = {a} above b = {b}", a=a, b=b))(jnp.asarray([1.0, 5.0]), 3.0)


def test_checked_returns_what_the_function_returns():
    assert checked(root)(4.0) == 2.0
    assert checked(jax.vmap(root))(jnp.asarray([4.0, 9.0])).tolist() == [2.0, 3.0]
    found = checked(lambda outer, *, scale: jax.tree.map(lambda x: x * scale, outer))(Outer(), scale=2.0)
    assert isinstance(found, Outer)
    assert (float(found.stake), float(found.inner.share), found.absent) == (20.0, 1.0, None)
    assert checked(root).__name__ == "root"


def test_checked_works_inside_scan_and_while():
    def descend(x):
        return jax.lax.scan(
            lambda carry, step: (require_domain("carry", carry, POSITIVE) - step, carry), x, jnp.ones(4)
        )

    assert float(checked(descend)(9.0)[0]) == 5.0
    with pytest.raises(ValueError, match=r"carry must be greater than 0 and finite, got 0.0"):
        checked(descend)(2.0)


def test_checked_passes_names_and_functions_on():
    def named(name, function, *, x):
        return function(require_domain(name, x, POSITIVE))

    assert checked(named)("y", jnp.sqrt, x=4.0) == 2.0
    with pytest.raises(ValueError, match=r"^y must be"):
        checked(named)("y", jnp.sqrt, x=-4.0)


def test_checked_and_plain_traces_do_not_mix():
    """A compiled function gains checks under `checked`, and loses them after, whichever came first."""
    first_plain, first_checked = jax.jit(lambda x: root(x)), jax.jit(lambda x: root(x) + 0)
    assert np.isnan(first_plain(-1.0))
    with pytest.raises(ValueError, match="x must be"):
        checked(first_plain)(-1.0)
    with pytest.raises(ValueError, match="x must be"):
        checked(first_checked)(-1.0)
    assert np.isnan(first_checked(-1.0))
    assert np.isnan(first_plain(-2.0))
    assert first_checked(4.0) == 2.0


def test_checks_are_off_again_after_an_error():
    def fails(x):
        raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        checked(fails)(1.0)
    assert checks._carry_checks.value is False
    assert np.isnan(jax.jit(root)(-1.0))
