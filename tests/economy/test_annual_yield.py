"""The yield after a year: without compounding the net rate, with it the continuous limit less the idle balance."""

from __future__ import annotations

import math
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxstake.economy.apr import IDLE_COMPOUNDING_ETH, annual_yield, apr
from jaxstake.economy.scenario import Scenario
from tests.economy.scenarios import BUSY, with_values


def test_yield_without_compounding_is_the_net_rate(tolerance: float) -> None:
    rate = apr(with_values(BUSY))
    assert annual_yield(rate, balance_eth=32.0, compounding=False) == pytest.approx(float(rate.net), rel=10 * tolerance)


def test_yield_with_compounding_reaches_the_continuous_limit(tolerance: float) -> None:
    rate = apr(with_values(BUSY))
    inside = float(rate.consensus) + float(rate.slashing) + float(rate.leak)
    outside = float(rate.execution) + float(rate.costs) + float(rate.commission)
    exact = np.exp(inside) - 1 + outside
    large = annual_yield(rate, balance_eth=1e15, compounding=True)
    assert large == pytest.approx(exact, rel=20 * tolerance)
    # The same, as the limit of ever shorter periods.
    periods = 1e7
    assert float(large) == pytest.approx((1 + inside / periods) ** periods - 1 + outside, rel=2e-5)


def test_idle_balance_costs_what_was_published(published: dict[str, Any], tolerance: float) -> None:
    entry = published["maxeb_drag"]["value"]
    rate = apr(Scenario())
    assert entry["idle_0x02"] == IDLE_COMPOUNDING_ETH
    found = annual_yield(rate, balance_eth=32.25, compounding=True)
    whole = annual_yield(rate, balance_eth=1e15, compounding=True)
    drag = 1 - float(found) / float(whole)
    assert drag == pytest.approx(0.75 / 32.25, rel=max(1e-9, 20 * tolerance))
    assert round(drag, 4) == entry["loss_at_32.25"]


def test_compounding_pays_above_some_balance_and_costs_below() -> None:
    rate = apr(Scenario())
    swept = float(annual_yield(rate, balance_eth=32.0, compounding=False))
    assert float(annual_yield(rate, balance_eth=33.0, compounding=True)) < swept
    assert float(annual_yield(rate, balance_eth=2_000.0, compounding=True)) > swept


@pytest.mark.parametrize(
    ("balance", "compounding", "message"),
    [
        (0.0, False, "balance_eth must be greater than 0 and finite, got 0.0"),
        (math.nan, True, "balance_eth must be greater than 0 and finite, got nan"),
        (0.5, True, "balance_eth less the idle 0.75 ETH must be at least 0 and finite, got -0.25"),
    ],
)
def test_yield_refuses_bad_balances(balance: float, compounding: bool, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        annual_yield(apr(Scenario()), balance_eth=balance, compounding=compounding)
    traced = jax.jit(lambda value: annual_yield(apr(Scenario()), balance_eth=value, compounding=True))
    assert np.isnan(float(traced(0.5)))


def test_yield_gradient(only_x64: None) -> None:
    def of_relative_changes(scale: Any, stretch: Any) -> Any:
        rate = jax.tree.map(lambda value: value * (1.0 + scale), apr(with_values(BUSY)))
        return 100.0 * annual_yield(rate, balance_eth=100.0 * (1.0 + stretch), compounding=True)

    zero = jnp.zeros(())
    check_grads(jax.jit(of_relative_changes), (zero, zero), order=2, modes=("fwd", "rev"), atol=1e-6, rtol=1e-6)
