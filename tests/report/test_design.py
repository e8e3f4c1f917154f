"""Ranges, grid sizes and shares of variance."""

from __future__ import annotations

import math

import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.economy.scenario import Scenario
from jaxstake.report import design

WEIGHTS = [entry.weight for entry in design.RANGES]


@pytest.mark.parametrize("lanes", [1, 2, 3, 7, 100, 999, 1000, 4096, 1_000_000, 1_048_576, 10**9])
def test_counts_are_near_and_never_more(lanes):
    points = design.counts(lanes, WEIGHTS)
    assert lanes / 2 < math.prod(points) <= lanes
    if lanes.bit_count() == 1:
        assert math.prod(points) == lanes


@pytest.mark.parametrize("lanes", [0, -1])
def test_counts_refuse_what_is_not_positive(lanes):
    with pytest.raises(ValueError, match=f"lanes must be at least 1, got {lanes}"):
        design.counts(lanes, WEIGHTS)


def test_default_grid_has_a_million_lanes_over_seven_leaves():
    axes = design.grid(Scenario(), 1 << 20)
    assert len(axes) == 7
    assert math.prod(map(len, axes.values())) == 1_048_576


def test_ranges_hold_the_base_and_stay_in_the_domain():
    for uptime in (0.5, 0.9965, 1.0):
        base = leaves.replace(Scenario(), {"validator.uptime": uptime, "costs.commission": 0.4})
        domains = leaves.domains(base)
        for name, (low, high) in design.ranges(base).items():
            assert low <= leaves.get(base, name) <= high
            assert domains[name].contains(low)
            assert domains[name].contains(high)


def test_one_point_is_the_base():
    axes = design.grid(Scenario(), 1)
    assert {name: values.tolist() for name, values in axes.items()} == {
        name: [leaves.get(Scenario(), name)] for name in axes
    }


def test_shares_of_variance_of_a_sum_and_of_a_product(rng):
    x, y = rng.normal(size=50), 3.0 * rng.normal(size=40)
    shares = design.shares_of_variance(x[:, None] + y)
    assert shares == pytest.approx(np.array([x.var(), y.var()]) / (x.var() + y.var()))
    joint = design.shares_of_variance((x - x.mean())[:, None] * (y - y.mean()))
    assert joint == pytest.approx([0.0, 0.0], abs=1e-12)
    assert all(math.isnan(share) for share in design.shares_of_variance(np.ones((2, 2))))
