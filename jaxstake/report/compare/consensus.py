"""Chapter 1 of the APR guide: proposals and RANDAO."""

from __future__ import annotations

import numpy as np

from jaxstake.articles.apr_guide import consensus, randao
from jaxstake.articles.apr_guide.statements import CONTRIBUTIONS
from jaxstake.articles.tables.rewards import VALIDATORS
from jaxstake.core.sha256 import from_integer, to_hex
from jaxstake.protocol.duties import proposal_distribution, proposal_probability
from jaxstake.protocol.forks import epochs_per_day, max_effective_balance_eth
from jaxstake.protocol.randao import mix_all
from jaxstake.protocol.rewards import Participation, proposer_reward
from jaxstake.report.compare.row import Basis, Row

ENOUGH_PROPOSALS = 50


def rows(basis: Basis) -> list[Row]:
    """The claims of the chapter."""
    return [*_proposals(basis), *_randao()]


def _proposals(basis: Basis) -> list[Row]:
    fork = basis.fork
    balance = max_effective_balance_eth(fork)
    largest = max_effective_balance_eth(fork, compounding=True)
    total = balance * VALIDATORS
    slots = fork.slots_per_epoch * epochs_per_day(fork)
    chance = proposal_probability(effective_balance_eth=balance, total_stake_eth=total)
    daily = consensus.expected_proposals_per_day(validators=VALIDATORS)
    none = proposal_distribution(slots=slots, probability=chance, max_proposals=ENOUGH_PROPOSALS)[0]
    network = Participation(source=0.99, target=0.99, head=0.99, sync=0.99)
    return [
        Row(
            key="proposals-per-day",
            section="1.1",
            claim="Proposals of one of 500,000 validators in a day",
            printed=daily,
            protocol=slots * chance,
            unit="per day",
            why="Right between validators of equal balance, if no slot is missed.",
            module="jaxstake.protocol.duties.proposal_probability",
        ),
        Row(
            key="daily-chance",
            section="1.1",
            claim='"Chance of being selected (daily)"',
            printed=daily / consensus.slots_per_day() * 100,
            protocol=100 * (1 - none),
            unit="%",
            why=(
                "What is printed is the chance in one slot; in a day of 7,200 slots it is one minus the chance of none."
            ),
            module="jaxstake.protocol.duties.proposal_distribution",
        ),
        Row(
            key="uniform-selection",
            section="1.1",
            claim=f"Chance in one slot of a validator of {float(largest):,.0f} ETH among 500,000 of 32 ETH",
            printed=100 * consensus.selection_probability(validators=VALIDATORS),
            protocol=100 * proposal_probability(effective_balance_eth=largest, total_stake_eth=total),
            unit="%",
            why=(
                "Selection is by effective balance, not uniform; a large validator proposes in proportion to its "
                "balance."
            ),
            module="jaxstake.protocol.duties.proposal_probability",
        ),
        Row(
            key="proposer-share",
            section="1.1",
            claim="Proposer reward per epoch for a base reward of 1 at 99 % participation",
            printed=consensus.proposer_reward_per_epoch(base_reward=1.0, validators=VALIDATORS),
            protocol=proposer_reward(fork, base_reward_eth=1.0, own=1.0, participation=network, block_rate=1.0),
            why="Right as an expectation over all epochs: 8/64 of the base reward, times what others make it include.",
            module="jaxstake.protocol.rewards.proposer_reward",
        ),
    ]


def _randao() -> list[Row]:
    reveals = np.stack([from_integer(number) for number in CONTRIBUTIONS])
    zero = np.zeros(32, np.uint8)
    digest = to_hex(randao.randao_entropy(contributions=reveals).digest)
    mix = to_hex(mix_all(zero, reveals=reveals))
    wanted = from_integer(int.from_bytes(b"any number that one likes", "big"))
    others = np.bitwise_xor.reduce(reveals[:-1], axis=0)
    chosen = np.concatenate([reveals[:-1], (others ^ wanted)[None]])
    toy = np.asarray(randao.randao_entropy(contributions=chosen).exclusive_or)
    real = np.asarray(mix_all(zero, reveals=chosen))
    return [
        Row(
            key="randao-output",
            section="1.2",
            claim="Random output of the four sample numbers",
            printed=int(digest[:8], 16),
            protocol=int(mix[:8], 16),
            why="The protocol hashes each reveal and mixes the hashes by XOR; printed is the hash of the XOR.",
            module="jaxstake.protocol.randao.randao_mix",
            tolerance=0.0,
            printed_text=f"0x{digest[:8]}...",
            protocol_text=f"0x{mix[:8]}...",
        ),
        Row(
            key="randao-control",
            section="1.2",
            claim="Bits of an XOR of its choice that the last contributor hits, knowing the others",
            printed=_equal_bits(toy, wanted),
            protocol=_equal_bits(real, wanted),
            unit="of 256 bits",
            why=(
                "With one honest validator the output is said to be uniform. As printed, the last to contribute sets "
                "the XOR freely. A reveal is a signature that cannot be chosen, and enters hashed: what is hit is "
                "chance, half of the bits. The last proposer may only withhold its block, one bit for each last slot."
            ),
            module="jaxstake.protocol.randao.randao_mix",
            tolerance=0.25,
        ),
    ]


def _equal_bits(first: np.ndarray, second: np.ndarray) -> int:
    return int(np.sum(np.unpackbits(first) == np.unpackbits(second)))
