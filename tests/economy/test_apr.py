"""The APR against an independent NumPy oracle, closed forms, invariances, and in every way of running it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import chex
import jax
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.economy.apr import Apr, apr
from jaxstake.economy.scenario import Scenario
from jaxstake.protocol import forks
from tests.economy.scenarios import (
    BUSY,
    EARNED,
    ECONOMIC,
    LOST,
    SUMS,
    SWEPT_NAMES,
    assert_close,
    components,
    in_working_precision,
    random_lanes,
    with_values,
)
from tests.oracles import apr_numpy


def test_names_of_components_and_of_swept_leaves() -> None:
    assert [field.name for field in dataclasses.fields(Apr)] == [*EARNED, *LOST, *SUMS]
    assert set(SWEPT_NAMES) <= set(leaves.names(Scenario()))
    result = apr(Scenario())
    assert set(leaves.units(result).values()) == {"1/year"}
    assert all(leaves.meanings(result).values())


@pytest.mark.parametrize("fork", apr_numpy.RULES)
def test_every_component_equals_the_numpy_oracle(fork: str, rng: np.random.Generator, tolerance: float) -> None:
    largest = forks.max_effective_balance_eth(forks.get(fork), compounding=True)
    arrays, exact = in_working_precision(random_lanes(rng, 512, largest_eth=float(largest)))
    found = jax.jit(jax.vmap(lambda values: apr(with_values(values, fork=fork))))(arrays)
    wanted = apr_numpy.apr(exact, fork=fork)
    assert set(wanted) == set(components(found))
    assert all(np.all(np.isfinite(values)) for values in wanted.values())
    assert_close(components(found), wanted, tolerance)


def test_random_scenarios_reach_every_branch(rng: np.random.Generator) -> None:
    lanes = random_lanes(rng, 512)
    out = apr_numpy.apr(lanes)
    stake = lanes["network.total_stake_eth"]
    correlated = 3 * (lanes["hazards.other_slashed_stake_eth"] + lanes["validator.effective_balance_eth"])
    delay = lanes["network.exit_queue_eth"] / np.clip(stake / 65_536, 128, 256)
    for condition in (correlated > 3 * stake, correlated > stake, delay > 7_931, out["gross"] < 0, out["net"] < 0):
        assert 0 < np.sum(condition) < 512


def test_oracle_keeps_the_precision_of_its_inputs(rng: np.random.Generator) -> None:
    single = {name: values.astype(np.float32) for name, values in random_lanes(rng, 4).items()}
    assert {value.dtype for value in apr_numpy.apr(single).values()} == {np.dtype(np.float32)}


def test_sums_are_exact_eagerly(only_x64: None, rng: np.random.Generator) -> None:
    for values in ({}, BUSY, *(dict(zip(ECONOMIC, rng.uniform(0.1, 1.0, 18), strict=True)) for _ in range(5))):
        parts = {name: float(value) for name, value in components(apr(with_values(values | stake_for(values)))).items()}
        attestation = parts["source"] + parts["target"] + parts["head"]
        assert parts["consensus"] == attestation + parts["sync"] + parts["proposer"] + parts["missed"]
        assert parts["execution"] == parts["mev"] + parts["tips"]
        assert parts["gross"] == parts["consensus"] + parts["execution"]
        losses = parts["gross"] + parts["slashing"] + parts["leak"] + parts["costs"]
        assert parts["net"] == losses + parts["commission"]


def stake_for(values: dict[str, Any]) -> dict[str, float]:
    """A realistic stake where the values are drawn without regard to units."""
    return {"network.total_stake_eth": 3e7} if "network.total_stake_eth" in values else {}


def test_sums_hold_to_rounding_when_compiled(rng: np.random.Generator, tolerance: float) -> None:
    arrays, _ = in_working_precision(random_lanes(rng, 256))
    found = components(jax.jit(jax.vmap(lambda values: apr(with_values(values))))(arrays))
    exact = {name: np.asarray(value, np.float64) for name, value in found.items()}
    size = sum(np.abs(exact[name]) for name in (*EARNED, *LOST))
    consensus = sum(exact[name] for name in ("source", "target", "head", "sync", "proposer", "missed"))
    execution = exact["mev"] + exact["tips"]
    sums = {"consensus": consensus, "execution": execution, "gross": consensus + execution}
    sums["net"] = sums["gross"] + sum(exact[name] for name in LOST if name != "missed")
    for name, value in sums.items():
        assert np.all(np.abs(exact[name] - value) <= tolerance * size), name


def test_signs(rng: np.random.Generator) -> None:
    arrays, _ = in_working_precision(random_lanes(rng, 512))
    found = components(jax.vmap(lambda values: apr(with_values(values)))(arrays))
    for name in EARNED:
        assert np.all(np.asarray(found[name]) >= 0), name
    for name in LOST:
        if name != "leak":
            assert np.all(np.asarray(found[name]) <= 0), name
    # What the offline forgo and pay cancels for who is offline anyway, to rounding.
    size = np.abs(np.asarray(found["missed"])) + np.asarray(found["mev"])
    assert np.all(np.asarray(found["leak"]) <= 1e-5 * size)


PERFECT = {"network.participation": 1.0, "network.block_rate": 1.0, "validator.uptime": 1.0}


@pytest.mark.parametrize("stake", [1e6, 10e6, 42_228_608.0])
def test_perfect_duties_earn_the_closed_form(stake: float, tolerance: float) -> None:
    closed = 64 / math.sqrt(1e9 * stake) * 82_181.25
    result = apr(with_values({**PERFECT, "network.total_stake_eth": stake}))
    assert result.consensus == pytest.approx(closed, rel=tolerance)
    assert result.missed == 0
    # 64ths: source, target, head, sync, proposer.
    duties = [float(getattr(result, name)) / closed * 64 for name in EARNED[:5]]
    np.testing.assert_allclose(duties, [14, 26, 14, 2, 8], rtol=10 * tolerance)


def test_default_perfect_rate_is_what_the_documents_state(tolerance: float) -> None:
    assert float(apr(with_values(PERFECT)).consensus) == pytest.approx(0.02559, abs=5e-6)


def test_offline_validator_pays_what_the_rules_say(tolerance: float) -> None:
    result = apr(with_values({**PERFECT, "validator.uptime": 0.0}))
    perfect = 64 / math.sqrt(1e9 * 42_228_608.0) * 82_181.25
    assert result.missed == pytest.approx(-perfect * (40 + 2) / 64, rel=tolerance)
    assert [float(getattr(result, name)) for name in EARNED] == [0.0] * 7
    assert float(result.gross - perfect) == pytest.approx(-perfect * 106 / 64, rel=tolerance)


def ratios(change: dict[str, float], base: dict[str, float] | None = None) -> dict[str, float]:
    before, after = apr(with_values(base or {})), apr(with_values({**(base or {}), **change}))
    return {
        name: float(value) / float(getattr(before, name))
        for name, value in components(after).items()
        if getattr(before, name) != 0
    }


def test_rewards_do_not_depend_on_the_effective_balance(tolerance: float) -> None:
    found = ratios({"validator.effective_balance_eth": 2_048.0}, BUSY)
    for name in (*EARNED, "missed", "leak", "consensus", "execution", "gross", "commission"):
        assert found[name] == pytest.approx(1.0, rel=tolerance), name
    assert found["costs"] == pytest.approx(32 / 2_048, rel=tolerance)


def test_consensus_falls_with_the_root_of_the_stake_and_block_value_with_the_stake(tolerance: float) -> None:
    found = ratios({"network.total_stake_eth": 4 * 42_228_608.0}, BUSY)
    for name in ("source", "target", "head", "sync", "proposer", "missed", "consensus"):
        assert found[name] == pytest.approx(0.5, rel=tolerance), name
    assert found["mev"] == found["tips"] == pytest.approx(0.25, rel=tolerance)


def test_linear_in_commission_probability_and_cost(tolerance: float) -> None:
    assert ratios({"costs.commission": 0.2}, BUSY)["commission"] == pytest.approx(2.0, rel=tolerance)
    assert ratios({"hazards.slashing_probability": 0.03}, BUSY)["slashing"] == pytest.approx(3.0, rel=tolerance)
    assert ratios({"hazards.leak_probability": 0.06}, BUSY)["leak"] == pytest.approx(3.0, rel=tolerance)
    assert ratios({"costs.annual_cost_eth": 0.1}, BUSY)["costs"] == pytest.approx(2.0, rel=tolerance)
    all_of_it = apr(with_values({**BUSY, "costs.commission": 1.0}))
    assert float(all_of_it.commission) == -float(all_of_it.gross)


def test_commission_is_taken_on_a_positive_reward_only() -> None:
    loser = apr(with_values({"validator.uptime": 0.1, "costs.commission": 0.5}))
    assert loser.gross < 0
    assert loser.commission == 0


def test_slashing_when_the_whole_network_is_slashed_takes_everything(tolerance: float) -> None:
    rate = apr(with_values({"hazards.slashing_probability": 1.0, "hazards.other_slashed_stake_eth": 1e9}))
    waiting = 8_192 * 64 / math.sqrt(1e9 * 42_228_608.0) * 40 / 64
    assert rate.slashing == pytest.approx(-(1 / 4_096 + 1.0 + waiting), rel=tolerance)


def test_leak_of_an_absent_validator_follows_the_gaussian(tolerance: float) -> None:
    values = {"hazards.leak_probability": 1.0, "hazards.leak_offline_probability": 1.0, "validator.uptime": 0.0}
    rate = apr(with_values({**values, "hazards.leak_epochs": 4_096.0}))
    assert rate.leak == pytest.approx(math.expm1(-0.5), rel=10 * tolerance)


def test_leak_takes_the_attestation_rewards_of_who_stays_online(tolerance: float) -> None:
    values = {"hazards.leak_probability": 1.0, "hazards.leak_offline_probability": 0.0, "hazards.leak_epochs": 1_000.0}
    rate = apr(with_values(values))
    assert rate.leak == pytest.approx(
        float(-(rate.source + rate.target + rate.head)) * 1_000 / 82_181.25, rel=tolerance
    )


def test_balance_above_the_fork_s_maximum_before_electra() -> None:
    with pytest.raises(ValueError, match=r"at most 32\.0, the largest at this fork, got 64\.0"):
        apr(with_values({"validator.effective_balance_eth": 64.0}, fork="capella"))


def test_phase0_is_refused() -> None:
    with pytest.raises(ValueError, match="this fork does not define timely_source_weight"):
        apr(Scenario(fork=forks.get("phase0")))


@pytest.mark.parametrize("fork", [name for name in forks.NAMES if name != "phase0"])
def test_every_later_fork_works(fork: str) -> None:
    result = apr(Scenario(fork=forks.get(fork)))
    assert 0.025 < float(result.net) < 0.027
    assert all(np.isfinite(float(value)) for value in components(result).values())


def test_eager_jit_and_vmap_agree(rng: np.random.Generator, tolerance: float) -> None:
    arrays, _ = in_working_precision(random_lanes(rng, 3))
    function = lambda values: apr(with_values(values))  # noqa: E731
    compiled, batch = jax.jit(function), components(jax.vmap(function)(arrays))
    for i in range(3):
        lane = {name: values[i] for name, values in arrays.items()}
        eager = {name: np.float64(value) for name, value in components(function(lane)).items()}
        assert_close(components(compiled(lane)), eager, tolerance)
        assert_close({name: values[i] for name, values in batch.items()}, eager, tolerance)


def test_one_compilation_for_all_values_and_for_electra_and_fulu() -> None:
    compiled = jax.jit(chex.assert_max_traces(apr, n=1))
    chex.clear_trace_counter()
    first = compiled(Scenario())
    compiled(with_values(BUSY))
    compiled(leaves.replace(Scenario(), {"fork.base_reward_factor": 32.0}))
    assert float(compiled(Scenario(fork=forks.get("electra"))).net) == float(first.net)
