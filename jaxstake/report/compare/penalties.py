"""Chapter 3 of the APR guide: missed attestations, double signing by fork, and the leak beyond its range."""

from __future__ import annotations

import jax.numpy as jnp

from jaxstake.articles.apr_guide import penalties, statements
from jaxstake.protocol import forks
from jaxstake.protocol.penalties import ejection_epochs, leak_epochs_to_balance, leak_loss, leak_retained_share
from jaxstake.protocol.rewards import Performance, missed_attestation_penalty
from jaxstake.protocol.slashing import initial_slashing_penalty, slashing_loss
from jaxstake.report.compare.row import Basis, Row

BALANCE = 32.0
LEAK = "jaxstake.protocol.penalties.leak_loss"
SLASHING = "jaxstake.protocol.slashing.slashing_loss"
FORKS = {"phase0": "phase 0", "altair": "Altair", "bellatrix": "Bellatrix to Deneb", "electra": "Electra on"}
"""Forks that changed the initial penalty."""
ABSENT = Performance(source=0.0, target=0.0, head=0.0, sync=0.0, proposer=0.0)


def rows(basis: Basis) -> list[Row]:
    """The claims of the chapter."""
    return [*_missed(basis), *_short_leak(basis), *_double_sign(), *_slashed(basis), *_leak(basis), *_inverse(basis)]


def _missed(basis: Basis) -> list[Row]:
    fork = basis.fork
    printed = penalties.missed_attestation_penalty(base_reward=1.0, missed_count=1.0).base_penalty
    penalty = missed_attestation_penalty(fork, base_reward_eth=1.0, performance=ABSENT)
    weights = fork.timely_source_weight + fork.timely_target_weight + fork.timely_head_weight
    return [
        Row(
            key="missed-penalty",
            section="3.1",
            claim="Penalty for a missed attestation over the base reward",
            printed=printed,
            protocol=penalty,
            why="Source and target, 40 of 64 since Altair. In phase 0 it was three of four parts, 0.75.",
            module="jaxstake.protocol.rewards.missed_attestation_penalty",
        ),
        Row(
            key="missed-loss",
            section="3.1",
            claim="What a missed attestation costs over the base reward, with the reward that is forgone",
            printed=printed,
            protocol=penalty + weights / fork.weight_denominator,
            why="The penalty is the smaller part; the reward is lost as well.",
            module="jaxstake.protocol.rewards.expected_epoch_rewards",
        ),
    ]


def _short_leak(basis: Basis) -> list[Row]:
    fork, epochs = basis.fork, 1000.0
    printed = penalties.missed_attestation_penalty(base_reward=0.0, missed_count=0.0, epochs_since_finality=epochs)
    beyond = epochs - penalties.LEAK_THRESHOLD
    return [
        Row(
            key="leak-without-balance",
            section="3.1",
            claim="Leak penalty of a validator of 32 ETH after 1,000 epochs without finality",
            printed=printed.leak_penalty,
            protocol=leak_loss(fork, balance_eth=BALANCE, epochs=beyond),
            unit="ETH",
            why="The code leaves out the balance, so that the number is a share of it.",
            module=LEAK,
        ),
        Row(
            key="leak-coefficient",
            section="3.1",
            claim="Leak penalty of 32 ETH after 1,000 epochs by the docstring, with a coefficient of 0.75",
            printed=penalties.leak_penalty_formula(effective_balance=BALANCE, distance=epochs),
            protocol=leak_loss(fork, balance_eth=BALANCE, epochs=epochs),
            unit="ETH",
            why="No such coefficient enters.",
            module=LEAK,
        ),
        Row(
            key="leak-threshold",
            section="3.1",
            claim="Epochs without finality before the leak starts",
            printed=statements.LEAK_THRESHOLD_EPOCHS,
            protocol=fork.min_epochs_to_inactivity_penalty,
            unit="epochs",
            why="Right.",
            module="jaxstake.protocol.forks.Fork",
        ),
    ]


def _double_sign() -> list[Row]:
    attestation = penalties.double_sign_penalty(validator_effective_balance=BALANCE, is_constructive=False)
    block = penalties.double_sign_penalty(validator_effective_balance=BALANCE, is_constructive=True)
    found = []
    for name, until in FORKS.items():
        real = initial_slashing_penalty(forks.get(name), effective_balance_eth=BALANCE)
        for kind, printed in (("attestation", attestation), ("block", block)):
            found.append(
                Row(
                    key=f"double-{kind}-{name}",
                    section="3.2",
                    claim=f"Initial penalty for two conflicting {kind}s, 32 ETH, {until}",
                    printed=printed,
                    protocol=real,
                    unit="ETH",
                    why=f"1/{float(BALANCE / real):,.0f} of the effective balance, whatever the offence.",
                    module="jaxstake.protocol.slashing.initial_slashing_penalty",
                )
            )
    return found


def _slashed(basis: Basis) -> list[Row]:
    attestation = penalties.double_sign_penalty(validator_effective_balance=BALANCE, is_constructive=False)
    block = penalties.double_sign_penalty(validator_effective_balance=BALANCE, is_constructive=True)
    stake = float(basis.scenario.network.total_stake_eth)
    alone = slashing_loss(basis.fork, effective_balance_eth=BALANCE, total_stake_eth=stake, slashed_stake_eth=BALANCE)
    many = slashing_loss(
        basis.fork, effective_balance_eth=BALANCE, total_stake_eth=stake, slashed_stake_eth=0.1 * stake
    )
    initial = initial_slashing_penalty(basis.fork, effective_balance_eth=BALANCE)
    return [
        Row(
            key="double-block-over-attestation",
            section="3.2",
            claim="Penalty for two blocks over that for two attestations",
            printed=block / attestation,
            protocol=initial / initial,
            why="Both are slashed by the same function, for the same amount.",
            module="jaxstake.protocol.slashing.initial_slashing_penalty",
        ),
        Row(
            key="double-alone",
            section="3.2",
            claim="All that a slashed validator of 32 ETH loses if nobody else is slashed",
            printed=attestation,
            protocol=alone.total,
            unit="ETH",
            why=f"{float(alone.initial):.4f} at once and {float(alone.waiting):.4f} in 36 days of missed duties.",
            module=SLASHING,
        ),
        Row(
            key="double-together",
            section="3.2",
            claim="The same if a tenth of the stake is slashed in the same 36 days",
            printed=attestation,
            protocol=many.total,
            unit="ETH",
            why="The penalty for correlation, three times the share slashed together, is missing.",
            module=SLASHING,
        ),
    ]


def _leak(basis: Basis) -> list[Row]:
    found = []
    for name, until in (("altair", "Altair"), ("bellatrix", "Bellatrix on")):
        found.append(
            Row(
                key=f"leak-eta-{name}",
                section="3.3",
                claim=f"Leak coefficient eta, {until}",
                printed=float(penalties.LEAK_QUOTIENT),
                protocol=2.0 * forks.get(name).inactivity_penalty_quotient,
                why="Twice the inactivity penalty quotient of the fork.",
                module=LEAK,
            )
        )
    ejected = ejection_epochs(basis.fork, balance_eth=BALANCE)
    for distance in (100.0, 1000.0, 5000.0, 10000.0):
        until = jnp.minimum(distance, ejected)
        late = distance > float(ejected)
        found.append(
            Row(
                key=f"leak-{distance:g}",
                section="3.3",
                claim=f"Share of 32 ETH left after {distance:,.0f} epochs of leak",
                printed=penalties.leak_penalty(distance=distance).remaining_ratio,
                protocol=100 * leak_retained_share(basis.fork, epochs=until),
                unit="%",
                why=(
                    f"Ejected after {float(ejected):,.0f} epochs, when the balance falls under 16.75 ETH; the printed "
                    "formula goes on below zero."
                    if late
                    else "The first-order term of `exp(-d^2 / 2^25)`, good while the loss is small."
                ),
                module="jaxstake.protocol.penalties.leak_retained_share",
            )
        )
    return found


def _inverse(basis: Basis) -> list[Row]:
    found = []
    ejected = ejection_epochs(basis.fork, balance_eth=BALANCE)
    kept = leak_retained_share(basis.fork, epochs=ejected)
    for loss in (0.1, 0.25, 0.5, 0.75, 0.9):
        reached = loss <= 1 - float(kept)
        epochs = leak_epochs_to_balance(basis.fork, balance_eth=BALANCE, remaining_eth=BALANCE * (1 - loss))
        found.append(
            Row(
                key=f"leak-days-{loss:g}",
                section="3.3",
                claim=f"Days of leak until {loss:.0%} of the balance is lost",
                printed=penalties.leak_distance(loss_ratio=loss).days,
                protocol=epochs / forks.epochs_per_day(basis.fork) if reached else None,
                unit="days",
                protocol_text="" if reached else "never",
                why=(
                    "The square root of `-ln(1 - loss)` in place of that of the loss."
                    if reached
                    else f"A validator of 32 ETH is ejected after {float(ejected) / 225:.1f} days, at a loss of "
                    f"{float(1 - kept):.1%}."
                ),
                module="jaxstake.protocol.penalties.leak_epochs_to_balance",
            )
        )
    return found
