"""Inputs of the formulas: the documents' own values, the ranges that make sense, and how a text is read as one.

The formulas themselves take anything, as the documents' code does; who asks for a number from outside is refused what
lies outside these ranges.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.articles.apr_guide.penalties import LEAK_QUOTIENT, LEAK_THRESHOLD
from jaxstake.articles.apr_guide.statements import CONTRIBUTIONS
from jaxstake.articles.apr_guide.strategy import ADVICE
from jaxstake.core.domain import FINITE, FRACTION, NON_NEGATIVE, POSITIVE, POSITIVE_FRACTION, PROPER_FRACTION, Domain
from jaxstake.core.pytree import data_fields, domain_of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a formula.

    Attributes:
        sample: the document's value, or one in the range where it prints none.
        domain: of every number of it.
        kind: "number", "whole", "vector", "switch", "text", "contributions", "key" or "function".
        says: for a function, what the sample computes.
    """

    sample: Any
    domain: Domain = FINITE
    kind: str = "number"
    says: str = ""

    def parse(self, name: str, text: str) -> Any:
        """The value that a text stands for.

        Raises:
            ValueError: not of this kind, or outside the domain.
        """
        if self.kind == "function":
            raise ValueError(f"{name} is a function, which the document leaves open; it cannot be set here")
        if self.kind == "text":
            return text
        if self.kind == "switch":
            if text.lower() not in ("true", "false", "1", "0"):
                raise ValueError(f"{name} must be true or false, got '{text}'")
            return text.lower() in ("true", "1")
        if self.kind == "contributions":
            return [_contribution(name, part) for part in text.split(",")]
        values = [_number(name, part) for part in text.split(",")]
        for value in values:
            if not self.domain.contains(value):
                raise ValueError(f"{name} must be {self.domain.rule}, got {value:g}")
            if self.kind in ("whole", "key") and value != int(value):
                raise ValueError(f"{name} must be a whole number, got {value:g}")
        if self.kind == "vector":
            return values
        if len(values) != 1:
            raise ValueError(f"{name} must be one number, got '{text}'")
        return int(values[0]) if self.kind in ("whole", "key") else values[0]

    def argument(self, value: Any) -> Any:
        """The value as the function takes it."""
        if self.kind == "vector":
            return jnp.asarray(value, float)
        if self.kind == "contributions":
            return np.stack([np.frombuffer(number.to_bytes(32, "big"), np.uint8) for number in value])
        return jax.random.key(value) if self.kind == "key" else value


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{name} must be a number, got '{text}'") from None


def _contribution(name: str, text: str) -> int:
    try:
        value = int(text, 0)
    except ValueError:
        raise ValueError(f"{name} must be whole numbers such as 0x12ab, got '{text}'") from None
    if not 0 <= value < 1 << 256:
        raise ValueError(f"{name} must be at least 0 and less than 2^256, got {text}")
    return value


def _number_of(sample: float, domain: Domain = FINITE) -> Input:
    return Input(sample=sample, domain=domain)


def _vector(*sample: float, domain: Domain = NON_NEGATIVE) -> Input:
    return Input(sample=list(sample), domain=domain, kind="vector")


def of_container(container: type) -> dict[str, Input]:
    """The fields of a container as inputs, with its defaults and domains."""
    return {
        name: Input(sample=field.default, domain=domain_of(field) or FINITE)
        for name, field in data_fields(container).items()
    }


_DRAWS = (-1.5, -0.5, 0.0, 0.5, 1.5)

INPUTS: Mapping[str, Input] = {
    "validators": _number_of(500_000, POSITIVE),
    "validator_count": _number_of(500_000, POSITIVE),
    "slots_per_epoch": _number_of(32, POSITIVE),
    "epochs_per_day": _number_of(225, POSITIVE),
    "days_per_year": _number_of(365, POSITIVE),
    "base_reward": _number_of(1e-5, POSITIVE),
    "proposer_factor": _number_of(1 / 8, FRACTION),
    "participation_rate": _number_of(0.99, POSITIVE_FRACTION),
    "block_reward": _number_of(1.0, NON_NEGATIVE),
    "attestors": _number_of(495_000, NON_NEGATIVE),
    "total_participation": _number_of(16e6, POSITIVE),
    "contributions": Input(sample=list(CONTRIBUTIONS), kind="contributions"),
    "total_effective_stake": _number_of(16e6, POSITIVE),
    "validator_effective_balance": _number_of(32, POSITIVE),
    "base_reward_factor": _number_of(64, POSITIVE),
    "base_recipients_per_epoch": _number_of(1, POSITIVE),
    "total_stake": _number_of(20e6, POSITIVE),
    "chain_activity_rate": _number_of(0.98, FRACTION),
    "sync_committee_size": _number_of(512, POSITIVE),
    "sync_reward_factor": _number_of(2, NON_NEGATIVE),
    "mev_rate": _number_of(0.02, NON_NEGATIVE),
    "tips_rate": _number_of(0.005, NON_NEGATIVE),
    "include_mev": Input(sample=True, kind="switch"),
    "include_tips": Input(sample=True, kind="switch"),
    "reference_stake": _number_of(20e6, POSITIVE),
    "reference_apr": _number_of(27.10125, POSITIVE),
    "effective_balance": _number_of(32, POSITIVE),
    "missed_count": _number_of(10, NON_NEGATIVE),
    "leakage_rate": _number_of(0.75, NON_NEGATIVE),
    "epochs_since_finality": _number_of(0, NON_NEGATIVE),
    "penalty": _number_of(7.5e-6, NON_NEGATIVE),
    "distance": _number_of(1000, NON_NEGATIVE),
    "is_constructive": Input(sample=False, kind="switch"),
    "eta": _number_of(LEAK_QUOTIENT, POSITIVE),
    "loss_ratio": _number_of(0.5, PROPER_FRACTION),
    "level": _number_of(0.95, Domain(0.0, 1.0, open_low=True, open_high=True)),
    "draws": _vector(*_DRAWS, domain=FINITE),
    "payments": _vector(0.01, 0.02, 0.05, 0.2),
    "blocks_per_year": _number_of(225 * 365 * 32, POSITIVE),
    "block_gas_used": _number_of(15e6, NON_NEGATIVE),
    "mean_gas_price": _number_of(30, NON_NEGATIVE),
    "tips_fraction": _number_of(0.2, FRACTION),
    "gas_prices": _vector(30.0, 25.0, 40.0),
    "gas_used": _vector(21_000.0, 150_000.0, 90_000.0),
    "tips_per_block": _number_of(0.09, NON_NEGATIVE),
    "nominal_apr": _number_of(4.5),
    "slash_probability": _number_of(0.001, FRACTION),
    "expected_slash_penalty": _number_of(0.5, NON_NEGATIVE),
    "downtime_probability": _number_of(0.1, FRACTION),
    "expected_downtime_penalty": _number_of(0.1, NON_NEGATIVE),
    "risk_adjusted_apr.volatility": _number_of(0.15, NON_NEGATIVE),
    "risk_aversion": _number_of(2.0, NON_NEGATIVE),
    "reward_variance": _number_of(0.15**2, NON_NEGATIVE),
    "uptime": _number_of(0.99, FRACTION),
    "base_apr": _number_of(4.5, POSITIVE),
    "total_capital": _number_of(1000, NON_NEGATIVE),
    "n": _number_of(31, NON_NEGATIVE),
    "max_validators": Input(sample=31, domain=Domain(1.0, 1e6), kind="whole"),
    "returns": _vector(4.5, 4.05),
    "loss_probabilities": _vector(0.001, 0.002, domain=FRACTION),
    "losses": _vector(0.5, 0.5, domain=FRACTION),
    "stake_fraction": _number_of(1.0, NON_NEGATIVE),
    "management_fee": _number_of(0.0, FRACTION),
    "capital": _number_of(100.0, NON_NEGATIVE),
    "exit_delay_epochs": _number_of(27 * 225, NON_NEGATIVE),
    "validator_balance": _number_of(34.0, NON_NEGATIVE),
    "exit_analysis.apr": _number_of(4.5, NON_NEGATIVE),
    "outlook": Input(sample="stable", kind="text"),
    "base": _number_of(1.0, NON_NEGATIVE),
    "attestation": _number_of(0.03, NON_NEGATIVE),
    "proposer": _number_of(0.12, NON_NEGATIVE),
    "sync": _number_of(0.03, NON_NEGATIVE),
    "mev": _number_of(0.64, NON_NEGATIVE),
    "tips": _number_of(0.16, NON_NEGATIVE),
    "attack_probability": _number_of(0.01, FRACTION),
    "malicious": _number_of(100_000, NON_NEGATIVE),
    "min_stake": _number_of(32.0, POSITIVE),
    "attack_cost": _number_of(1e10, NON_NEGATIVE),
    "success_probability": _number_of(0.1, POSITIVE_FRACTION),
    "attack_reward": _number_of(1e9, POSITIVE),
    "cost_per_validator": _number_of(32.0, NON_NEGATIVE),
    "key": Input(sample=0, domain=Domain(0.0, 2.0**31), kind="key"),
    "mean": _number_of(0.9),
    "standard_deviation": _number_of(0.05, POSITIVE),
    "quality": _number_of(0.95),
    "shape": Input(sample=(), kind="function", says="one draw"),
    "shares": _vector(0.5, 0.25, 0.25, domain=FRACTION),
    "volume": _number_of(1e9, NON_NEGATIVE),
    "price": _number_of(3000.0, POSITIVE),
    "volatility": _number_of(0.7, POSITIVE),
    "reserve_x": _number_of(1000.0, POSITIVE),
    "reserve_y": _number_of(3e6, POSITIVE),
    "reserve_in": _number_of(1000.0, POSITIVE),
    "reserve_out": _number_of(3e6, POSITIVE),
    "amount_in": _number_of(10.0, NON_NEGATIVE),
    "liquidity": _number_of(1e6, POSITIVE),
    "depth.liquidity": Input(sample=lambda price: 5e5 / price**1.5, kind="function", says="5e5 / price^1.5"),
    "half_width": _number_of(30.0, NON_NEGATIVE),
    "nodes": Input(sample=32, domain=Domain(1.0, 1000.0), kind="whole"),
    "product": _number_of(3e9, NON_NEGATIVE),
    "actual_volume": _number_of(6e8, NON_NEGATIVE),
    "potential_volume": _number_of(1e9, POSITIVE),
    "price_change": _number_of(-30.0),
    "scale": _number_of(1e4, NON_NEGATIVE),
    "amounts": _vector(32.0, 64.0, 1.5),
    "impact": Input(sample=lambda amount: -1e-3 * amount, kind="function", says="-0.001 times the amount"),
    "withdrawal_pressure": _number_of(97.5, NON_NEGATIVE),
    "mu": _number_of(math.log(32.0)),
    "sigma": _number_of(1.0, NON_NEGATIVE),
    "calculate_security": Input(sample=jnp.mean, kind="function", says="the mean"),
    "calculate_liquidity": Input(sample=jnp.max, kind="function", says="the largest"),
    "n_simulations": Input(sample=10_000, domain=Domain(1.0, 1e7), kind="whole"),
    "adjustment": Input(
        sample=lambda validators, volatility: (validators / 1e6) * jnp.exp(volatility - 0.7),
        kind="function",
        says="n / 1e6 * exp(sigma - 0.7)",
    ),
    "initial": _number_of(32.0, POSITIVE),
    "dynamic_minimum_stake.volatility": _number_of(0.7, NON_NEGATIVE),
    "performance": _number_of(0.99),
    "tenure": _number_of(0.5),
    "reliability": _number_of(0.9),
    "alpha": _number_of(0.5),
    "beta": _number_of(0.2),
    "gamma": _number_of(0.3),
    "total_liquidity.base": _number_of(1e6, NON_NEGATIVE),
    "dynamic": _number_of(5e5, NON_NEGATIVE),
    "priority": Input(
        sample=lambda amount, waiting_time, score: waiting_time + score - 0.01 * amount,
        kind="function",
        says="t + s - 0.01 w",
    ),
    "amount": _number_of(32.0, NON_NEGATIVE),
    "waiting_time": _number_of(10.0, NON_NEGATIVE),
    "score": _number_of(0.9),
}
"""By name of the argument, or by function and argument where a name means different things."""


def _leak_leaves_a_balance(given: Mapping[str, Any]) -> str:
    most = math.sqrt(given["eta"])
    if given["distance"] <= most:
        return ""
    return f"distance must be at most {most:g}, at which nothing of the balance is left, got {given['distance']:g}"


def _penalty_leaves_a_balance(given: Mapping[str, Any]) -> str:
    most = math.inf if given["leakage_rate"] == 0 else math.sqrt(LEAK_QUOTIENT / given["leakage_rate"])
    if given["distance"] <= most:
        return ""
    return f"distance must be at most {most:g}, at which nothing of the balance is left, got {given['distance']:g}"


def _absence_leaves_a_balance(given: Mapping[str, Any]) -> str:
    epochs, most = given["epochs_since_finality"], LEAK_THRESHOLD + math.sqrt(LEAK_QUOTIENT)
    if epochs <= most:
        return ""
    return f"epochs_since_finality must be at most {most:g}, at which nothing of the balance is left, got {epochs:g}"


def _at_most(small: str, large: str, *, strictly: bool = False) -> Callable[[Mapping[str, Any]], str]:
    def check(given: Mapping[str, Any]) -> str:
        if given[small] < given[large] or (given[small] == given[large] and not strictly):
            return ""
        rule = "less than" if strictly else "at most"
        return f"{small} must be {rule} {large} = {given[large]:g}, got {given[small]:g}"

    return check


def _same_length(*names: str) -> Callable[[Mapping[str, Any]], str]:
    def check(given: Mapping[str, Any]) -> str:
        lengths = [len(given[name]) for name in names]
        return "" if len(set(lengths)) == 1 else f"{', '.join(names)} must be of one length, got {lengths}"

    return check


def _shares_of_one(given: Mapping[str, Any]) -> str:
    total = math.fsum(given["shares"])
    return "" if abs(total - 1.0) <= 1e-9 else f"shares must add up to 1, got {total:g}"


def _known_outlook(given: Mapping[str, Any]) -> str:
    known = [row.outlook for row in ADVICE]
    return "" if given["outlook"] in known else f"outlook must be one of {', '.join(known)}, got '{given['outlook']}'"


LIMITS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "missed_attestation_penalty": _absence_leaves_a_balance,
    "leak_penalty": _leak_leaves_a_balance,
    "leak_penalty_formula": _penalty_leaves_a_balance,
    "tips_formula": _same_length("gas_prices", "gas_used"),
    "portfolio_objective": _same_length("returns", "loss_probabilities", "losses"),
    "exit_advice": _known_outlook,
    "is_tolerated": _at_most("malicious", "validators"),
    "byzantine_margin": _at_most("malicious", "validators"),
    "entropy": _shares_of_one,
    "depth": _at_most("half_width", "price", strictly=True),
    "constant_product_depth": _at_most("half_width", "price", strictly=True),
}
"""What the inputs of a formula must satisfy together, in words where they do not."""
