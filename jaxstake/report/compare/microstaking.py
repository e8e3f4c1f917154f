"""The micro-staking analysis: thresholds, attack cost, and the key findings held against each other."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp

from jaxstake.articles import microstaking_analysis as micro
from jaxstake.core.typing import Scalar
from jaxstake.microstaking.concentration import entropy_bits, herfindahl
from jaxstake.protocol import forks
from jaxstake.protocol.penalties import FINALITY_SHARE, leak_burnt_share
from jaxstake.protocol.queues import entry_wait
from jaxstake.report.compare.row import Basis, Row, without_rounding

FINDINGS = {finding.name: finding for finding in micro.KEY_FINDINGS}
BURNT = "jaxstake.protocol.penalties.leak_burnt_share"


def rows(basis: Basis) -> list[Row]:
    """The claims of the document."""
    found = [*_thresholds(basis), *_validators(basis), *_simulation(), *_findings(basis)]
    return [dataclasses.replace(row, document="microstaking-analysis") for row in found]


def _thresholds(basis: Basis) -> list[Row]:
    stake = basis.scenario.network.total_stake_eth
    smallest = forks.max_effective_balance_eth(basis.fork)
    largest = forks.max_effective_balance_eth(basis.fork, compounding=True)
    return [
        Row(
            key="threshold-in-validators",
            section="1.2.1",
            claim="Validators that hold a third of today's stake",
            printed=micro.byzantine_threshold(total_stake=stake, min_stake=smallest),
            protocol=stake / 3 / largest,
            unit="validators",
            why=(
                f"The threshold is a share of the stake, not of the count. {float(largest):,.0f} ETH fit in one "
                "validator."
            ),
            module="jaxstake.protocol.penalties.epochs_to_finality",
        ),
        Row(
            key="attack-threshold",
            section="3.2",
            claim="Share of the stake that an attack needs, beside what finality takes",
            printed=100 * micro.MAJORITY,
            protocol=100 * FINALITY_SHARE,
            unit="%",
            why="51 % is of proof of work. Here a third stops finality and two thirds finalise anything.",
            module="jaxstake.protocol.penalties.epochs_to_finality",
        ),
    ]


def _validators(basis: Basis) -> list[Row]:
    stake = basis.scenario.network.total_stake_eth
    sizes = (1.0, forks.max_effective_balance_eth(basis.fork))
    counts = [micro.max_validators(total_stake=stake, min_stake=size) for size in sizes]
    waits = [entry_wait(basis.fork, queue_eth=stake, total_stake_eth=stake, deposit_eth=size).queue for size in sizes]
    one, four = jnp.ones(1), jnp.full(4, 0.25)
    return [
        Row(
            key="micro-entry",
            section="1.3",
            claim="Validators of 1 ETH for every one of 32, beside those that can enter in the same time",
            printed=counts[0] / counts[1],
            protocol=(counts[0] / waits[0]) / (counts[1] / waits[1]),
            why=(
                f"At most 16 deposits enter per epoch, so that all {float(counts[0]):,.0f} take "
                f"{float(waits[0]) / 365.25:,.0f} years; and below 32 ETH no validator is activated."
            ),
            module="jaxstake.protocol.queues.entry_wait",
        ),
        Row(
            key="entropy-direction",
            section="1.3",
            claim='Change of "centralization risk" when one of four equal stakers takes over all the others',
            printed=micro.entropy(shares=one) - micro.entropy(shares=four),
            protocol=herfindahl(one) - herfindahl(four),
            why=(
                "Printed is the entropy, in bits, which is highest where concentration is lowest; in the right column "
                "the Herfindahl index, which rises."
            ),
            module="jaxstake.microstaking.concentration.herfindahl",
        ),
    ]


def _simulation() -> list[Row]:
    found = micro.simulate_security_liquidity(
        key=jax.random.key(0), mu=0.0, sigma=1.0, calculate_security=jnp.mean, calculate_liquidity=jnp.max
    )
    return [
        Row(
            key="simulation-results",
            section="3.1",
            claim="Numbers that the simulation returns",
            printed=sum(values.size for values in found.results.values()),
            protocol=jnp.size(found.security_score) + jnp.size(found.liquidity_score),
            why="Two functions that are never defined give two scores, which are dropped; the lists stay empty.",
            module="jaxstake.analysis.sweep.sweep",
        ),
        Row(
            key="simulation-count",
            section="3.1",
            claim='Populations drawn in "10,000 simulations"',
            printed=found.stake_distribution.size,
            protocol=jnp.size(found.security_score),
            why="It is the size of the one population that is drawn.",
            module="jaxstake.analysis.sweep.sweep",
        ),
    ]


def _findings(basis: Basis) -> list[Row]:
    validators = basis.scenario.network.active_validators
    stake = basis.scenario.network.total_stake_eth
    cost = FINDINGS["attack_cost"]
    times = 1 + cost.change

    def stake_burnt(count: Scalar) -> Scalar:
        """What half the stake loses when it stops finality, held by that many equal validators, ETH."""
        return count * (stake / count) * leak_burnt_share(basis.fork, offline_share=0.5)

    own = micro.attack_cost(validators=times * validators, cost_per_validator=1.0) / micro.attack_cost(
        validators=validators, cost_per_validator=1.0
    )
    one = jnp.ones(1)
    whole, split = stake_burnt(validators), stake_burnt(times * validators)
    deeper = 1 + FINDINGS["depth"].change
    slips = micro.slippage_from_liquidity(liquidity=deeper, scale=1.0) / micro.slippage_from_liquidity(
        liquidity=1.0, scale=1.0
    )
    return [
        Row(
            key="finding-attack-cost",
            section="3.2",
            claim=f"{cost.printed}: {float(own):g} times the validators with the same stake",
            printed=100 * (own - 1),
            protocol=without_rounding(100 * (split / whole - 1), scale=100.0),
            unit="%",
            why="An attack costs stake: it is bought, burnt or slashed in ETH, in however many validators it is held.",
            module=BURNT,
        ),
        Row(
            key="finding-entropy",
            section="3.2",
            claim="Entropy, beside what four times the validators add to that of equal shares",
            printed=100 * FINDINGS["entropy"].change,
            protocol=100 * (entropy_bits(one, one * times * validators) / entropy_bits(one, one * validators) - 1),
            unit="%",
            why="The findings do not fit together: four times the validators are two bits more, whatever their number.",
            module="jaxstake.microstaking.concentration.entropy_bits",
        ),
        Row(
            key="finding-slippage",
            section="3.2",
            claim="Slippage, beside what three times the depth gives by the document's `S ~ 1/L`",
            printed=100 * FINDINGS["slippage"].change,
            protocol=100 * (slips - 1),
            unit="%",
            why="By its own law +200 % depth is two thirds less slippage.",
            module="jaxstake.microstaking.pools.slippage",
            tolerance=0.05,
        ),
    ]
