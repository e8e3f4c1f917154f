from __future__ import annotations

import math

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from jaxstake.core import domain
from jaxstake.core.domain import Domain

NAMED = [
    (domain.FRACTION, "in [0, 1]", [0.0, 1e-9, 1.0], [-1e-9, 1.0000001]),
    (domain.POSITIVE_FRACTION, "in (0, 1]", [1e-9, 1.0], [0.0, -1.0, 1.1]),
    (domain.PROPER_FRACTION, "in [0, 1)", [0.0, 0.999999], [1.0, -0.1]),
    (domain.NON_NEGATIVE, "at least 0 and finite", [0.0, 1e30], [-1e-30]),
    (domain.POSITIVE, "greater than 0 and finite", [1e-30, 1e30], [0.0, -1.0]),
    (domain.FINITE, "finite", [0.0, -1e30, 1e30], []),
    (Domain(high=3.0), "at most 3 and finite", [3.0, -1e30], [3.1]),
    (Domain(high=3.0, open_high=True), "less than 3 and finite", [2.9], [3.0]),
    (Domain(-2.0, 2.5, open_low=True, open_high=True), "in (-2, 2.5)", [0.0], [-2.0, 2.5]),
]
ALWAYS_OUT = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize(("interval", "rule", "inside", "outside"), NAMED, ids=[rule for _, rule, *_ in NAMED])
def test_membership_and_wording(interval, rule, inside, outside):
    assert interval.rule == rule
    assert [bool(interval.contains(x)) for x in inside] == [True] * len(inside)
    assert [bool(interval.contains(x)) for x in outside + ALWAYS_OUT] == [False] * (len(outside) + 3)


@pytest.mark.parametrize(("interval", "rule", "inside", "outside"), NAMED, ids=[rule for _, rule, *_ in NAMED])
def test_arrays_tracers_and_lanes_agree_with_numbers(interval, rule, inside, outside):
    values = jnp.asarray(inside + outside + ALWAYS_OUT)
    expected = [True] * len(inside) + [False] * (len(outside) + 3)
    assert interval.contains(values).tolist() == expected
    assert jax.jit(interval.contains)(values).tolist() == expected
    assert jax.vmap(interval.contains)(values).tolist() == expected
    assert interval.contains(np.asarray(values)).tolist() == expected


def test_integers_are_members_too():
    assert domain.NON_NEGATIVE.contains(0)
    assert not domain.POSITIVE.contains(0)
    assert domain.NON_NEGATIVE.contains(jnp.asarray([0, 5, -1])).tolist() == [True, True, False]


bounds = st.floats(-1e6, 1e6)


@given(low=bounds, high=bounds, value=st.floats(), open_low=st.booleans(), open_high=st.booleans())
def test_membership_is_the_two_inequalities(low, high, value, open_low, open_high):
    found = Domain(low, high, open_low=open_low, open_high=open_high).contains(value)
    above = low < value if open_low else low <= value
    below = value < high if open_high else value <= high
    assert bool(found) == (above and below)


@given(value=st.floats(), bound=bounds)
def test_half_lines_hold_finite_numbers_only(value, bound):
    assert bool(Domain(bound).contains(value)) == (math.isfinite(value) and value >= bound)
    assert bool(Domain(high=bound).contains(value)) == (math.isfinite(value) and value <= bound)
    assert bool(domain.FINITE.contains(value)) == math.isfinite(value)
