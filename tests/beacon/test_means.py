"""Incomes of the exact engine against the expectations of the smooth model, within stated bounds.

Three things part them. The engine rounds down: the base reward of an increment (here 1,098 or 2,529 Gwei, so up to
0.1 %) and, once that is taken over into the smooth values, less than one Gwei for every division. The smooth model
takes the mean share of slots with a block, while a head is paid by its square: `w_h/64 * u_h^2 * var(N/32)` more, for N
blocks in an epoch. And a simulation is a sample; its standard error follows from binomial formulas below.
"""

from __future__ import annotations

import functools
import math

import jax
import numpy as np
import pytest
from scipy import stats

from jaxstake.beacon import simulation
from jaxstake.beacon.behaviour import Behaviour
from jaxstake.protocol import forks, rewards
from tests.beacon.networks import ETH, network

pytestmark = pytest.mark.usefixtures("only_x64")
N, EPOCHS, SLOTS, SEATS = 20_000, 250, 32, 512  # all within a period of the sync committee
SLOTS_IN_ALL = SLOTS * EPOCHS
WEIGHTS = np.array([14.0, 26.0, 14.0]) / 64
SIZES = {"even": {32: N}, "mixed": {32: 12_000, 64: 5_000, 320: 2_000, 2_048: 1_000}}
PERFECT = {"source": 1.0, "target": 1.0, "head": 1.0, "sync": 1.0, "proposal": 1.0}
IMPERFECT = {"source": 0.99, "target": 0.97, "head": 0.92, "sync": 0.95, "proposal": 0.9}
CASES = [(kind, name) for kind in SIZES for name in ("perfect", "imperfect")]


def chances(name):
    return PERFECT if name == "perfect" else IMPERFECT


@functools.cache
def incomes(kind, name):
    """Gwei [V] of epochs after one whose votes the first of them pays; effective balances, ETH; sums by duty."""
    effective = np.repeat(list(SIZES[kind]), list(SIZES[kind].values())).astype(np.uint64)
    effective = np.random.default_rng(3).permutation(effective)
    r, state = network("fulu", N, preset="mainnet", effective=effective * np.uint64(ETH))
    behaviour = Behaviour(**chances(name))
    before, _ = simulation.simulate(r, state, behaviour, n_epochs=1, key=jax.random.key(1))
    end, record = simulation.simulate(r, before.state, behaviour, n_epochs=EPOCHS, key=jax.random.key(2))
    assert np.array_equal(end.state.effective_balance, effective * np.uint64(ETH))
    assert not np.any(record.tally.leak_epochs)
    return np.rint(np.asarray(simulation.consensus_income_eth(end)) * ETH), effective.astype(float), record.tally


def base_rewards(kind):
    """Increments in all; the base reward of one, Gwei, in whole Gwei and exactly."""
    m = sum(size * count for size, count in SIZES[kind].items())
    return m, 64 * ETH // math.isqrt(m * ETH), 64e9 / math.sqrt(1e9 * m)


def timely(name):
    """Chances that an attestation earns each flag: its own, times that there is a block in 5, 32 and 1 slots."""
    own, block = chances(name), chances(name)["proposal"]
    return np.array([own["source"], own["target"], own["head"]]) * (1 - (1 - block) ** np.array([5, 32, 1]))


def smooth(kind, name):
    """Gwei by size for `EPOCHS` epochs: the expectation of one validator, with the base reward in whole Gwei."""
    m, whole, exact = base_rewards(kind)
    source, target, head = timely(name)
    own = chances(name)
    flags = {"source": source, "target": target, "head": head, "sync": own["sync"]}
    found = {}
    for size in SIZES[kind]:
        parts = rewards.expected_epoch_rewards(
            forks.get("fulu"),
            effective_balance_eth=float(size),
            total_stake_eth=float(m),
            performance=rewards.Performance(**flags, proposer=own["proposal"]),
            participation=rewards.Participation(**flags),
            block_rate=own["proposal"],
        )
        found[size] = float(sum(jax.tree.leaves(parts))) * ETH * EPOCHS * whole / exact
    return found


def squared_head(kind, name, size):
    """What the variance of the share of slots with a block adds, Gwei in `EPOCHS` epochs."""
    block = chances(name)["proposal"]
    own_head = chances(name)["head"]
    return EPOCHS * size * base_rewards(kind)[1] * WEIGHTS[2] * own_head**2 * block * (1 - block) / SLOTS


def rounding(count):
    """Largest effect of all divisions but that of the base reward on what some validators earn together, Gwei.

    One for each flag and epoch, and all those of seats and proposals, which one validator may hold.
    """
    seats = SLOTS * SEATS * (1 + 1 + 1 / 7)
    blocks = SLOTS * (1 + 3 / 448)
    return EPOCHS * (3 * count + seats + blocks)


def standard_error(kind, name, size):
    """Of the sum over all validators of a size, Gwei, with s their share of the stake."""
    m, b, _ = base_rewards(kind)
    count = SIZES[kind][size]
    share = size * count / m
    u, own = timely(name), chances(name)
    block, sign = own["proposal"], 2 * own["sync"] - 1
    seat = m * b * 2 / 64 / SLOTS / SEATS
    # A block: votes of the slots since the last one, a geometric number; the head of one; its sync aggregate.
    votes = m * b * (WEIGHTS[:2] @ u[:2]) / 7 / SLOTS
    rest = m * b * WEIGHTS[2] * own["head"] / 7 / SLOTS + seat * SEATS * own["sync"] / 7
    square = votes**2 * (2 - block) / block**2 + 2 * votes * rest / block + rest**2
    proposals = SLOTS_IN_ALL * block * square * share * (1 - share)
    # Seats for all the time are Binomial(512, s); signatures are drawn in every slot.
    seats = (seat * SLOTS_IN_ALL * block * sign) ** 2 * SEATS * share * (1 - share)
    signatures = seat**2 * SEATS * share * SLOTS_IN_ALL * block * 4 * own["sync"] * (1 - own["sync"])
    # How many blocks there are in an epoch is the same for all.
    blocks = np.arange(SLOTS + 1)
    chance = stats.binom.pmf(blocks, SLOTS, block)
    together = m * share * b * WEIGHTS[2] * (own["head"] * blocks / SLOTS) ** 2
    together = together + share * (rest + seat * SEATS * sign) * blocks
    common = EPOCHS * (chance @ together**2 - (chance @ together) ** 2)
    # Own flags: one draw, so none, the source, source and target, or all; and those of all others, in the shares q.
    values = np.array([-WEIGHTS[:2].sum(), WEIGHTS[0] * u[0] - WEIGHTS[1], WEIGHTS[:2] @ u[:2], WEIGHTS @ u])
    odds = -np.diff([1.0, *u, 0.0])
    own_flags = EPOCHS * count * (size * b) ** 2 * (odds @ values**2 - (odds @ values) ** 2)
    squares = sum(n * other**2 for other, n in SIZES[kind].items()) / m**2
    shares = EPOCHS * (size * count * b * 8 / 7 * (WEIGHTS * u) @ np.sqrt(u * (1 - u))) ** 2 * squares
    return math.sqrt(max(0.0, proposals + seats + signatures + common + own_flags + shares))


def test_with_everything_perfect_the_network_earns_its_base_rewards():
    """Rounding is all that is left of the sum, whoever proposes: 0.006 % of `M b`, and 0.1 % with that of b itself."""
    for kind in SIZES:
        income, _, _ = incomes(kind, "perfect")
        m, whole, exact = base_rewards(kind)
        expected = sum(SIZES[kind][size] * value for size, value in smooth(kind, "perfect").items())
        assert expected == pytest.approx(EPOCHS * m * whole, rel=1e-12)
        lost = expected - income.sum()
        bound = rounding(N)
        assert 0 <= lost < bound < 7e-5 * expected
        assert 0 <= EPOCHS * m * exact - income.sum() < EPOCHS * m + bound < 1.1e-3 * expected


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_means_by_balance_are_those_of_the_smooth_model(kind, name):
    """Every size of validator within 4 standard errors, which are below 0.8 % of what it earns."""
    income, effective, _ = incomes(kind, name)
    for size, expected in smooth(kind, name).items():
        count = SIZES[kind][size]
        found = income[effective == size].sum()
        error = standard_error(kind, name, size)
        slack = rounding(count)
        extra = count * squared_head(kind, name, size)
        assert abs(found - count * expected) < 4 * error + slack + extra
        assert abs(found - count * expected - extra) < 4 * error + slack
        assert error < 0.008 * count * expected


@pytest.mark.parametrize("kind", SIZES)
def test_sums_by_duty_are_those_of_the_smooth_model(kind):
    """Over the network, where possible at the share of slots that had a block, so that little is left to chance."""
    _, _, tally = incomes(kind, "imperfect")
    m, whole, _ = base_rewards(kind)
    fork, base, own, u = forks.get("fulu"), m * whole / ETH, chances("imperfect"), timely("imperfect")
    blocks = int(tally.blocks[0])
    rate = blocks / SLOTS_IN_ALL
    assert abs(rate - own["proposal"]) < 4 * math.sqrt(rate * (1 - rate) / SLOTS_IN_ALL)

    sync = EPOCHS * ETH * float(rewards.sync_committee_income(fork, base_reward_eth=base, block_rate=rate))
    seats = SEATS * blocks  # a Gwei each for their rounding
    error = sync * math.sqrt(own["sync"] * (1 - own["sync"]) / seats)
    signed, missed = int(tally.sync_rewards[0]), int(tally.sync_penalties[0])
    assert abs(signed - own["sync"] * sync) < 4 * error + seats
    assert abs(missed - (1 - own["sync"]) * sync) < 4 * error + seats
    assert 0 <= sync - signed - missed < seats
    assert 0 <= signed / 7 - int(tally.sync_inclusion_rewards[0]) < seats

    flags = {"source": u[0], "target": u[1], "head": own["head"] * rate}
    proposer = rewards.proposer_reward(
        fork,
        base_reward_eth=base,
        own=rate,
        participation=rewards.Participation(**flags, sync=own["sync"]),
        block_rate=rate,
    )
    found = int(tally.inclusion_rewards[0]) + int(tally.sync_inclusion_rewards[0])
    squares = sum(count * size**2 for size, count in SIZES[kind].items()) / m**2
    deviations = np.sqrt(u * (1 - u) * squares / EPOCHS)  # of the shares q over all epochs
    error = error / 7 + EPOCHS * m * whole / 7 * WEIGHTS @ deviations
    assert abs(found - EPOCHS * ETH * float(proposer)) < 4 * error + 2 * seats + 2 * blocks

    lost = rewards.missed_attestation_penalty(
        fork, base_reward_eth=base, performance=rewards.Performance(source=u[0], target=u[1], head=u[2])
    )
    gained = sum(
        rewards.attestation_reward(fork, base_reward_eth=base, weight=64 * weight, own=chance, network=chance)
        for weight, chance in zip(WEIGHTS, u, strict=True)
    )
    expected = EPOCHS * ETH * float(gained - lost) + squared_head(kind, "imperfect", m)
    found = int(tally.attestation_rewards[0]) - int(tally.attestation_penalties[0])
    numbers = np.arange(SLOTS + 1)
    chance, heads = stats.binom.pmf(numbers, SLOTS, own["proposal"]), (own["head"] * numbers / SLOTS) ** 2
    error = m * whole * WEIGHTS[2] * math.sqrt(EPOCHS * (chance @ heads**2 - (chance @ heads) ** 2))
    error += EPOCHS * m * whole * (2 * WEIGHTS * u + WEIGHTS * [1, 1, 0]) @ deviations
    assert abs(found - expected) < 4 * error + 3 * N * EPOCHS
    assert 4 * error < 0.01 * expected
