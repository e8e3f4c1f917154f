"""What pooling does to the median, smoothing pools, and the driver over many scenarios."""

from __future__ import annotations

import math
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxstake.core import leaves
from jaxstake.economy import risk
from jaxstake.economy.block_value import LogNormal
from jaxstake.economy.scenario import Scenario
from tests.economy.risk_cases import HEAVY, NOTHING, PERFECT, floats, scenario

GRID = 1 << 13
# Payments of relays in the months after the merge: a median of 0.05 ETH and a mean of 0.12.
EARLY = {**PERFECT, "network.total_stake_eth": 425_000 * 32.0}
EARLY_VALUE = LogNormal(log_mean=math.log(0.05), log_std=math.sqrt(2.0 * math.log(0.12 / 0.05)))


def test_the_median_rises_to_the_mean_with_the_number_of_validators() -> None:
    at = scenario(EARLY, EARLY_VALUE)
    sizes = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 1_000.0, 10_000.0)
    medians = np.asarray(jax.jit(lambda s: risk.median_by_pool_size(s, sizes, points=GRID))(at))
    assert np.all(np.diff(medians) > 0)
    mean = float(risk.return_moments(at).mean)
    assert np.all(medians < mean * (1.0 + 1e-4))
    assert medians[-1] == pytest.approx(mean, rel=2e-3)


def test_grids_are_as_wide_as_asked() -> None:
    at = scenario(PERFECT, LogNormal(log_mean=-3.0, log_std=0.7))
    wide, narrow = (float(risk.median_by_pool_size(at, (1.0,), points=GRID, beyond=x)[0]) for x in (1e-9, 1e-2))
    alone = risk.quantile(risk.return_distribution(at, points=GRID, beyond=1e-2), level=0.5)
    assert narrow == pytest.approx(float(alone), rel=1e-6)
    assert narrow == pytest.approx(wide, rel=1e-3)
    assert narrow != wide
    with pytest.raises(ValueError, match=r"beyond must be in \(0, 0.1\], got 0.5"):
        risk.median_by_pool_size(at, (1.0,), points=GRID, beyond=0.5)


def test_published_groups_have_the_same_shape(published: dict[str, Any]) -> None:
    """The published medians rest on the payments of one period, which are not stated: their order is reproduced.

    The gain from one validator to two is more than from 16 to 32, and the worst hundredth gains more than the median.
    """
    stated = published["full_return_groups"]["value"]
    sizes = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    keys = [f"{size:.0f}" for size in sizes]
    curves = jax.jit(lambda s: [risk.median_by_pool_size(s, sizes, level=level, points=GRID) for level in (0.5, 0.01)])(
        scenario(EARLY, EARLY_VALUE)
    )
    for found, wanted in zip(curves, ([stated[k] for k in keys], [stated["p1"][k] for k in keys]), strict=True):
        gains = np.diff(np.asarray(found))
        assert np.all(gains > 0)
        assert np.all(np.diff(wanted) > 0)
        assert gains[0] > gains[-1]
        assert wanted[1] - wanted[0] > wanted[-1] - wanted[-2]
    assert np.all(np.diff(np.asarray(curves[1])) > np.diff(np.asarray(curves[0])))


def test_published_smoothing_pool(published: dict[str, Any]) -> None:
    """5 years among 425,000 validators: the median number of proposals; a pool wins more often than not."""
    stated = published["smoothing_pool"]["value"]
    at = scenario(EARLY, HEAVY)
    law = risk.income_law(at, years=5.0)
    assert abs(stats.binom.median(int(law.slots), float(law.proposal_chance)) - stated["median_proposals_5y"]) <= 1
    wins = {}
    for tail_shape in (0.4, 0.8):
        heavy = leaves.replace(at, {"block_value.tail_shape": tail_shape})
        wins[tail_shape] = float(risk.smoothing_pool_wins(heavy, years=5.0, pool_validators=3_000.0, points=GRID))
    assert 0.5 < wins[0.4] < wins[0.8] < stated["SP_beats_solo_in"] + 0.1


def test_a_pool_without_luck_wins_where_the_own_income_is_below_its_mean() -> None:
    """With equal payments the own income is a binomial count."""
    at = scenario(PERFECT, LogNormal(log_mean=math.log(0.1), log_std=0.0))
    law = risk.income_law(at)
    expected = float(law.slots) * float(law.proposal_chance)
    wanted = stats.binom.cdf(math.floor(0.9 * expected), int(law.slots), float(law.proposal_chance))
    assert risk.smoothing_pool_wins(at, fee=0.1, points=GRID) == pytest.approx(wanted, abs=2e-3)
    assert risk.smoothing_pool_wins(at, fee=1.0, points=GRID) <= stats.binom.pmf(0, int(law.slots), expected / 2.6298e6)
    assert risk.smoothing_pool_wins(at, fee=1.0, pool_validators=10.0, points=GRID) == 0.0


def test_pools_of_growing_size_approach_one_without_luck() -> None:
    at = scenario({}, LogNormal(log_mean=-3.0, log_std=1.0))
    limit = float(risk.smoothing_pool_wins(at, fee=0.05, points=GRID))
    sizes = (10.0, 1_000.0, 50_000.0)
    wins = [float(risk.smoothing_pool_wins(at, fee=0.05, pool_validators=size, points=GRID)) for size in sizes]
    gaps = [abs(win - limit) for win in wins]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] < 5e-3


def test_equals_have_even_chances() -> None:
    found = risk.return_distribution(scenario({}), validators=100.0, points=GRID)
    assert risk.chance_of_more(found, found) == pytest.approx(0.5, abs=1e-3)
    assert risk.chance_of_more(risk.scaled(found, factor=2.0), found) == pytest.approx(1.0, abs=1e-4)


def test_bad_fee() -> None:
    with pytest.raises(ValueError, match=r"fee must be in \[0, 1\], got 1\.2"):
        risk.smoothing_pool_wins(Scenario(), fee=1.2)


def _median(one: Scenario) -> Any:
    return risk.quantile(risk.return_distribution(one, points=1 << 10), level=0.5)


def test_the_driver_maps_lanes_and_compiles_once(x64: bool) -> None:
    uptimes = floats(np.append(np.linspace(0.5, 1.0, 10), 2.0))
    traced = chex.assert_max_traces(n=1)(_median)
    many = [leaves.replace(Scenario(), {"validator.uptime": uptimes * scale}) for scale in (1.0, 0.99)]
    found = [risk.sweep_scenarios(traced, one, batch=11) for one in many]
    single = jax.jit(_median)
    for lane in (0, 5, 9):
        wanted = float(single(leaves.replace(Scenario(), {"validator.uptime": uptimes[lane]})))
        assert float(found[0][lane]) == pytest.approx(wanted, rel=1e-9 if x64 else 1e-4)
    assert np.isnan(found[0][10])
    named = risk.sweep_scenarios(traced, many[0], varied=("validator.uptime",), batch=11)
    np.testing.assert_allclose(named, found[0], rtol=1e-9 if x64 else 1e-4)


def test_the_driver_needs_lanes() -> None:
    with pytest.raises(ValueError, match="leaves \\[L\\] of one length"):
        risk.sweep_scenarios(_median, Scenario())
    lengths = {"validator.uptime": jnp.ones(3), "network.participation": jnp.ones(2)}
    with pytest.raises(ValueError, match=r"got lengths \[2, 3\]"):
        risk.sweep_scenarios(_median, leaves.replace(Scenario(), lengths))


def test_consensus_alone_has_a_median_too() -> None:
    one = risk.median_by_pool_size(scenario(PERFECT, NOTHING), (1.0, 64.0), points=GRID)
    assert one[0] < one[1]
