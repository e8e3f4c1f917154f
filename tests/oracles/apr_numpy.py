"""The APR of a validator in NumPy, written from the protocol's rules and not from the package.

Vectorised over lanes in the floating-point type of its inputs: a dict of arrays in (or numbers, which broadcast), a
dict of arrays out. Names are those of the scenario's leaves and of the APR's components.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping

import numpy as np

Lanes = Mapping[str, np.ndarray]

EPOCHS_PER_YEAR = 365.25 * 86_400 / 384
SLOTS_PER_YEAR = 365.25 * 86_400 / 12


def _validators(stake: np.ndarray) -> np.ndarray:
    return np.maximum(stake / 65_536, 4 * 32)


def _shared(stake: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(stake / 65_536, 128), 256)


def _separate(stake: np.ndarray) -> np.ndarray:
    return np.maximum(stake / 32_768, 128)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What differs between forks: slashing and leak quotients, correlation multiplier, exit churn in ETH per epoch."""

    slashing_quotient: int
    multiplier: int
    leak_quotient: int
    exit_churn: Callable[[np.ndarray], np.ndarray]


RULES = {
    "altair": Rules(64, 2, 3 * 2**24, _validators),
    "bellatrix": Rules(32, 3, 2**24, _validators),
    "capella": Rules(32, 3, 2**24, _validators),
    "deneb": Rules(32, 3, 2**24, _validators),
    "electra": Rules(4_096, 3, 2**24, _shared),
    "fulu": Rules(4_096, 3, 2**24, _shared),
    "gloas": Rules(4_096, 3, 2**24, _separate),
}


def consensus(lanes: Lanes) -> dict[str, np.ndarray]:
    """Consensus rewards and penalties per epoch and ETH of effective balance, and `base`, the perfect reward."""
    stake, p, rho = (lanes[f"network.{name}"] for name in ("total_stake_eth", "participation", "block_rate"))
    u = lanes["validator.uptime"]
    base = 64 / np.sqrt(stake * 1e9)
    flags = 14 / 64 * p + 26 / 64 * p + 14 / 64 * p * rho
    return {
        "base": base,
        "source": base * (14 / 64) * u * p,
        "target": base * (26 / 64) * u * p,
        "head": base * (14 / 64) * (u * rho) * (p * rho),
        "sync": base * (2 / 64) * u * rho,
        "proposer": u * base * (8 / 56) * (flags / rho + p * (2 / 64)),
        "missed": -base * (40 / 64 + 2 / 64 * rho) * (1 - u),
    }


def slashing(lanes: Lanes, base: np.ndarray, rules: Rules) -> np.ndarray:
    """Loss of a slashed validator per ETH of effective balance."""
    stake = lanes["network.total_stake_eth"]
    together = np.minimum(lanes["hazards.other_slashed_stake_eth"] + lanes["validator.effective_balance_eth"], stake)
    correlated = np.minimum(rules.multiplier * together, stake) / stake
    exit_epochs = lanes["network.exit_queue_eth"] / rules.exit_churn(stake) + 5 + 256
    return 1 / rules.slashing_quotient + correlated + np.maximum(exit_epochs, 8_192) * base * (40 / 64)


def leak(lanes: Lanes, epoch: Lanes, execution: np.ndarray, rules: Rules) -> np.ndarray:
    """Loss in a leak per ETH: rewards that stop, duties that are missed, and the inactivity penalty."""
    epochs, offline = lanes["hazards.leak_epochs"], lanes["hazards.leak_offline_probability"]
    attestations = epoch["source"] + epoch["target"] + epoch["head"]
    income = attestations + epoch["sync"] + epoch["proposer"] + epoch["missed"] + execution / EPOCHS_PER_YEAR
    penalties = epoch["base"] * (40 / 64 + 2 / 64 * lanes["network.block_rate"])
    inactivity = -np.expm1(-((epochs / math.sqrt(2 * rules.leak_quotient)) ** 2))
    online_loss = epochs * attestations
    offline_loss = epochs * (income + penalties) + inactivity
    return (1 - offline) * online_loss + offline * offline_loss


def apr(lanes: Lanes, *, fork: str = "fulu") -> dict[str, np.ndarray]:
    """Components of the APR of every lane, fractions per year.

    Args:
        lanes: the leaves of network, validator, block_value (lognormal), hazards and costs by dotted name.
        fork: name of the fork, Altair or later.
    """
    rules = RULES[fork]
    stake, balance = lanes["network.total_stake_eth"], lanes["validator.effective_balance_eth"]
    epoch = consensus(lanes)
    duties = ("source", "target", "head", "sync", "proposer", "missed")
    out = {name: epoch[name] * EPOCHS_PER_YEAR for name in duties}
    value = np.exp(lanes["block_value.log_mean"] + lanes["block_value.log_std"] ** 2 / 2)
    proposals = SLOTS_PER_YEAR * lanes["validator.uptime"] / stake
    out["mev"] = proposals * value
    out["tips"] = proposals * lanes["network.tips_per_block_eth"]
    out["slashing"] = -lanes["hazards.slashing_probability"] * slashing(lanes, epoch["base"], rules)
    out["leak"] = -lanes["hazards.leak_probability"] * leak(lanes, epoch, out["mev"] + out["tips"], rules)
    out["costs"] = -lanes["costs.annual_cost_eth"] / balance
    out["consensus"] = out["source"] + out["target"] + out["head"] + out["sync"] + out["proposer"] + out["missed"]
    out["execution"] = out["mev"] + out["tips"]
    out["gross"] = out["consensus"] + out["execution"]
    out["commission"] = -lanes["costs.commission"] * np.maximum(out["gross"], 0)
    out["net"] = out["gross"] + out["slashing"] + out["leak"] + out["costs"] + out["commission"]
    return out
