"""Every number that the APR guide's own code computes, against ours, rebuilt from the inputs beside it."""

from __future__ import annotations

import copy
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.articles.apr_guide import (
    calculator,
    consensus,
    mev,
    penalties,
    randao,
    rewards,
    risk,
    sensitivity,
    strategy,
    tips,
)
from jaxstake.articles.apr_guide.calculator import Calculator
from jaxstake.articles.apr_guide.mev import MevModel
from jaxstake.articles.apr_guide.strategy import Optimizer
from jaxstake.core.sha256 import from_integer, to_hex

Rebuild = Callable[[Any, re.Match[str]], Any]
REBUILDS: dict[str, Rebuild] = {}
"""By pattern of a key of the file: its value computed anew from the inputs in it."""

NO_EFFECT = re.compile(r"participation_sensitivity\.\d+\.participation|missed_attestation_leak\.[01]\.epochs.*")
"""Inputs that change nothing: the participation cancels, and the leak starts after 4 epochs."""


@pytest.fixture(scope="module")
def numbers(shared) -> dict[str, Any]:
    """What the document's code computes, at full precision."""
    return json.loads((shared / "published" / "published_tables.json").read_text())


def fields(result: Any) -> dict[str, Any]:
    return dict(vars(result))


def drawn(seed: int, count: int) -> np.ndarray:
    return np.random.RandomState(seed).standard_normal(count)


# --- The keys of the file


def rebuilds(pattern: str) -> Callable[[Rebuild], Rebuild]:
    def register(function: Rebuild) -> Rebuild:
        REBUILDS[pattern] = function
        return function

    return register


def rebuild_rows(pattern: str) -> Callable[[Callable[[Mapping[str, Any]], Any]], Rebuild]:
    """For a key that holds rows, each rebuilt from its own inputs."""

    def register(row: Callable[[Mapping[str, Any]], Any]) -> Rebuild:
        return rebuilds(pattern)(lambda rows, _: [row(one) for one in rows])

    return register


@rebuilds("consensus")
def rebuild_consensus(value, _):
    found = {"total_validators": value["total_validators"], "slots_per_day": consensus.slots_per_day()}
    validators = value["total_validators"]
    found["expected_proposals_per_day"] = consensus.expected_proposals_per_day(validators=validators)
    for name in value:
        if reward := re.fullmatch(r"proposer_reward_per_epoch\(base_reward=(.*)\)", name):
            found[name] = consensus.proposer_reward_per_epoch(base_reward=float(reward[1]), validators=validators)
    return found


@rebuilds("randao")
def rebuild_randao(value, _):
    words = np.stack([from_integer(int(text, 16)) for text in value["inputs"]])
    found = randao.randao_entropy(contributions=words)
    exclusive_or = hex(int(to_hex(found.exclusive_or), 16))
    return {"inputs": value["inputs"], "xor": exclusive_or, "sha256": to_hex(found.digest)}


@rebuild_rows("base_reward_calculation")
def rebuild_base_reward(row):
    stake = row["total_effective_stake"]
    found = rewards.base_reward_calculation(total_effective_stake=stake)
    return {"total_effective_stake": stake, "reward_eth": found.reward_eth}


@rebuild_rows("annual_apr")
def rebuild_annual_apr(row):
    stake = row["total_stake"]
    return {"total_stake": stake, **fields(calculator.annual_apr(Calculator(), total_stake=stake))}


@rebuild_rows("components")
def rebuild_components(row):
    stake, of = row["total_stake"], Calculator()
    sync = calculator.sync_committee_reward(of, total_stake=stake)
    return {
        "total_stake": stake,
        "base_reward": calculator.base_reward(of, total_stake=stake),
        "attestation_reward": calculator.attestation_reward(of, total_stake=stake),
        "proposer_reward": calculator.proposer_reward(of, total_stake=stake),
        "sync": [sync.average, sync.selection_probability, sync.annual],
    }


@rebuild_rows("participation_sensitivity")
def rebuild_participation(row):
    rate = row["participation"]
    found = sensitivity.participation_sensitivity(Calculator(), participation_rate=rate, reference_apr=1.0)
    return {"participation": rate, "apr_percent": found.apr}


@rebuild_rows("effective_balance_sensitivity")
def rebuild_balance(row):
    balance = row["effective_balance"]
    found = sensitivity.effective_balance_sensitivity(Calculator(), effective_balance=balance)
    return {"effective_balance": balance, "apr_percent": found.apr, "annual_eth": found.annual_reward}


@rebuild_rows("missed_attestation")
def rebuild_missed(row):
    given = {name: row[name] for name in ("base_reward", "missed")}
    found = penalties.missed_attestation_penalty(base_reward=row["base_reward"], missed_count=row["missed"])
    return {**given, "penalty": found.base_penalty}


@rebuild_rows("missed_attestation_leak")
def rebuild_missed_leak(row):
    epochs = row["epochs_since_finality"]
    found = penalties.missed_attestation_penalty(base_reward=0, missed_count=0, epochs_since_finality=epochs)
    return {"epochs_since_finality": epochs, "leak": found.leak_penalty}


@rebuild_rows("double_sign")
def rebuild_double_sign(row):
    balance, kind = row["balance"], row["kind"]
    found = penalties.double_sign_penalty(
        validator_effective_balance=balance, is_constructive={"attestation": False, "block": True}[kind]
    )
    return {"balance": balance, "kind": kind, "penalty": found}


@rebuild_rows("leakage")
def rebuild_leak(row):
    found = penalties.leak_penalty(distance=row["distance"])
    ratio = found.remaining_ratio
    return {"distance": row["distance"], "penalty": found.penalty, "remaining_ratio_percent": ratio}


@rebuild_rows("leakage_inverse")
def rebuild_leak_inverse(row):
    return {"loss_ratio": row["loss_ratio"], **fields(penalties.leak_distance(loss_ratio=row["loss_ratio"]))}


@rebuilds("mev")
def rebuild_mev(value, _):
    found: dict[str, Any] = {"expected_per_block": mev.expected_mev_per_block(MevModel()), "annual": []}
    for name in value:
        if sample := re.fullmatch(r"numpy_seed(\d+)_(\d+)_samples", name):
            draws = jnp.asarray(drawn(int(sample[1]), int(sample[2])))
            found[name] = fields(mev.mev_distribution(MevModel(), draws=draws))
    for row in value["annual"]:
        one = fields(mev.annual_mev_expectation(MevModel(), validator_count=row["validators"]))
        one["proposal_prob"] = one.pop("proposal_probability")
        found["annual"].append({"validators": row["validators"], **one, "annual_mev_eth": one["annual_mev"]})
    return found


@rebuilds("tips")
def rebuild_tips(value, _):
    found = fields(tips.tips_reward_model(mean_gas_price=value["avg_gas_price_gwei"]))
    found["avg_gas_price_gwei"] = found.pop("average_gas_price_gwei")
    found["per_validator"] = []
    for row in value["per_validator"]:
        one = tips.validator_tips(validator_count=row["validators"], tips_per_block=found["tips_per_block"])
        shares = {"proposals_per_year": one.proposals_per_year, "annual_eth": one.annual_tips}
        found["per_validator"].append({"validators": row["validators"], **shares})
    return found


@rebuild_rows("risk_adjusted")
def rebuild_risk(row):
    names = {"slash_penalty": "expected_slash_penalty", "downtime_penalty": "expected_downtime_penalty"}
    inputs = ("slash_probability", "slash_penalty", "downtime_probability", "downtime_penalty", "nominal_apr")
    found = risk.risk_adjusted_apr(**{names.get(name, name): row[name] for name in inputs})
    return {**{name: row[name] for name in inputs}, **fields(found)}


@rebuild_rows("availability")
def rebuild_availability(row):
    found = risk.validator_availability(uptime=row["uptime"])
    return {"uptime": row["uptime"], "apr": found.apr, "loss": found.loss}


@rebuilds(r"optimizer_(\d+)_eth")
def rebuild_optimizer(_, match):
    most = int(strategy.optimal_validator_count(Optimizer(), total_capital=int(match[1])))
    found = fields(strategy.allocations(Optimizer(), max_validators=most))
    first, last = ({name: column[row] for name, column in found.items()} for row in (0, -1))
    return {"n_rows": len(found["n"]), "first": first, "last": last}


@rebuilds(r"strategies_(\d+)_eth")
def rebuild_strategies(value, match):
    rows = []
    for row in value:
        fraction, fee = strategy.STRATEGIES[row["strategy"]]
        found = strategy.strategy_return(
            Optimizer(), stake_fraction=fraction, management_fee=fee, capital=float(match[1])
        )
        numbers = {"stake": found.stake, "net_apr": found.net_apr, "annual_eth": found.annual_return}
        rows.append({"strategy": row["strategy"], **numbers})
    return rows


@rebuilds("exit")
def rebuild_exit(value, _):
    found = fields(strategy.exit_analysis(exit_delay_epochs=value["exit_delay_epochs"]))
    names = {"hours": "hours_printed", "opportunity_cost": "opportunity_cost_eth"}
    return {names.get(name, name): number for name, number in found.items()}


def rebuild(key: str, value: Any) -> Any:
    """The value of a key of the file, computed anew."""
    (found,) = [(function, match) for pattern, function in REBUILDS.items() if (match := re.fullmatch(pattern, key))]
    function, match = found
    return function(value, match)


def flat(tree: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Leaves of nested dictionaries and lists by dotted path."""
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else None
    if children is None:
        yield path, tree
        return
    for name, child in children:
        yield from flat(child, f"{path}.{name}")


def wrong(key: str, value: Any, tolerance: float) -> list[str]:
    """Paths at which our value is not the one in the file, and paths that only one of both has."""
    theirs, ours = dict(flat(value, key)), dict(flat(rebuild(key, value), key))
    found = sorted(theirs.keys() ^ ours.keys())
    for path in theirs.keys() & ours.keys():
        their, our = theirs[path], ours[path]
        if isinstance(their, str) or isinstance(our, str):
            same = our == their
        else:
            same = math.isclose(float(our), float(their), rel_tol=tolerance)
        found += [] if same else [path]
    return found


def test_every_published_number(numbers, tolerance):
    """No key of the file is left out, at any depth, and every pattern is used."""
    matched = [[pattern for pattern in REBUILDS if re.fullmatch(pattern, key)] for key in numbers]
    assert sorted(pattern for patterns in matched for pattern in patterns) == sorted(REBUILDS)
    assert all(len(patterns) == 1 for patterns in matched)
    assert {key: wrong(key, value, tolerance) for key, value in numbers.items()} == {key: [] for key in numbers}
    assert len(dict(flat(numbers, ""))) > 250


@pytest.mark.usefixtures("only_x64")
def test_a_change_of_any_published_number_is_seen(numbers):
    """So none is compared with itself: another output is not ours, another input gives other outputs."""
    unseen = []
    for key, value in numbers.items():
        for path, number in flat(value, key):
            if not isinstance(number, str):
                changed = copy.deepcopy(value)
                *parents, last = [int(part) if part.isdigit() else part for part in _steps(value, path, key)]
                inner = functools.reduce(lambda tree, step: tree[step], parents, changed)
                inner[last] = number * 1.001 if number else 1e-3
                if not wrong(key, changed, 1e-12):
                    unseen.append(path)
    assert all(NO_EFFECT.fullmatch(path) for path in unseen)
    assert len(unseen) < 8


def _steps(tree: Any, path: str, key: str) -> list[str]:
    """Steps from the value of a key to a path; names may have dots in them."""
    rest, found = path.removeprefix(f"{key}."), []
    while rest:
        names = [str(name) for name in (tree if isinstance(tree, dict) else range(len(tree)))]
        (step,) = [name for name in names if rest == name or rest.startswith(f"{name}.")]
        tree = tree[step] if isinstance(tree, dict) else tree[int(step)]
        rest = rest.removeprefix(step).removeprefix(".")
        found.append(step)
    return found
