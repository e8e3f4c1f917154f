from __future__ import annotations

import csv
import datetime
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.protocol import forks, queues, slashing
from tests.oracles import formulas, integer_rules
from tests.oracles.formulas import Bad, Formula
from tests.oracles.integer_rules import GWEI

FULU = forks.get("fulu")
DAY = 225.0  # epochs

NON_NEGATIVE = "at least 0 and finite"
POSITIVE = "greater than 0 and finite"
BALANCE = Bad("effective_balance_eth", -32.0, NON_NEGATIVE)
TOTAL_STAKE = (Bad("total_stake_eth", 0.0, POSITIVE), Bad("total_stake_eth", -5.0, POSITIVE))
SLASHED = Bad("slashed_stake_eth", -1.0, NON_NEGATIVE)
QUEUE = Bad("exit_queue_eth", -1.0, NON_NEGATIVE)
PENALTY = {"base_reward_factor", "timely_source_weight", "timely_target_weight", "weight_denominator"}
CAP = {"max_per_epoch_activation_exit_churn_limit_gwei"}
LONG_QUEUE = CAP | {"max_seed_lookahead", "min_validator_withdrawability_delay"}
STAKE = {"effective_balance_eth": 2020.0, "total_stake_eth": 3.5e7}
EVENT = {**STAKE, "slashed_stake_eth": 2e4}

FORMULAS = [
    Formula(
        slashing.initial_slashing_penalty,
        {"effective_balance_eth": 32.0},
        {"min_slashing_penalty_quotient"},
        (BALANCE,),
        kinks=({"effective_balance_eth": 0.0},),
    ),
    Formula(
        slashing.whistleblower_reward,
        {"effective_balance_eth": 32.0},
        {"whistleblower_reward_quotient"},
        (BALANCE,),
        kinks=({"effective_balance_eth": 0.0},),
    ),
    Formula(
        slashing.correlation_penalty,
        EVENT,
        {"proportional_slashing_multiplier"},
        (BALANCE, *TOTAL_STAKE, SLASHED),
        kinks=({"slashed_stake_eth": 3.5e7 / 3}, {"slashed_stake_eth": 0.0}, {"slashed_stake_eth": 3.5e7}),
    ),
    Formula(
        slashing.withdrawability_delay_epochs,
        {"exit_queue_eth": 2.65e6, "total_stake_eth": 3.5e7},
        LONG_QUEUE,
        (QUEUE, *TOTAL_STAKE),
        kinks=({"exit_queue_eth": 0.0}, {"exit_queue_eth": (8192.0 - 261.0) * 256.0}),
        label="queue",
    ),
    Formula(
        slashing.withdrawability_delay_epochs,
        {"exit_queue_eth": 1e5, "total_stake_eth": 3.5e7},
        {"epochs_per_slashings_vector"},
        label="minimum",
    ),
    Formula(
        slashing.waiting_penalty,
        {**STAKE, "waiting_epochs": 8192.0},
        PENALTY,
        (BALANCE, *TOTAL_STAKE, Bad("waiting_epochs", -1.0, NON_NEGATIVE)),
        kinks=({"waiting_epochs": 0.0},),
    ),
    Formula(
        slashing.slashing_loss,
        {**EVENT, "exit_queue_eth": 2.65e6},
        PENALTY | LONG_QUEUE | {"min_slashing_penalty_quotient", "proportional_slashing_multiplier"},
        (
            BALANCE,
            *TOTAL_STAKE,
            SLASHED,
            QUEUE,
            Bad("slashed_stake_eth", 4e7, "at most total_stake_eth = 35000000.0", relational=True),
        ),
        kinks=({"slashed_stake_eth": 3.5e7 / 3}, {"exit_queue_eth": 0.0}, {"slashed_stake_eth": 0.0}),
    ),
]
# At points where the network's stake (exit churn at its cap) or the queue (shorter than 8,192 epochs) is moot.
UNUSED = {
    "withdrawability_delay_epochs-queue": {"total_stake_eth"},
    "withdrawability_delay_epochs-minimum": {"total_stake_eth", "exit_queue_eth"},
}
NEEDS_ALTAIR = [formula for formula in FORMULAS if formula.function.__name__ in ("waiting_penalty", "slashing_loss")]


# --- What every formula must do -------------------------------------------------------------------------------------


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_modes_agree(formula):
    results = formulas.lanes_by_mode(formula)
    for mode in ("jit", "vmap"):
        np.testing.assert_allclose(results[mode], results["eager"], rtol=formulas.ROUNDING, err_msg=mode)
    assert results["eager"].shape[0] == len(formulas.LANES)


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_gradients_reach_every_argument_and_constant(formula, x64):
    found = formulas.elasticities(formula)
    assert set(found) == formulas.expected_dependence(formula) - UNUSED.get(formula.name, set())
    assert np.all(np.isfinite(list(found.values())))
    if x64:
        formulas.check_derivatives(formula)


@pytest.mark.parametrize(**formulas.kinks(FORMULAS))
def test_gradients_are_finite_at_kinks(formula, kink):
    assert np.all(np.isfinite(formulas.gradient_at(formula, kink)))


@pytest.mark.parametrize(**formulas.bad_inputs(FORMULAS))
def test_bad_inputs(formula, bad):
    for value, message in formulas.messages(bad):
        with pytest.raises(ValueError, match=message):
            formulas.call_with(formula, bad.name, value)
    assert np.all(np.isnan(formulas.traced_value_and_gradient(formula, bad)))


@pytest.mark.parametrize(**formulas.names(NEEDS_ALTAIR))
def test_phase0_is_refused_by_name(formula):
    with pytest.raises(ValueError, match="this fork does not define weight_denominator"):
        formula.function(forks.get("phase0"), **formula.arguments)


# --- Values worked by hand, limits and invariances ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "initial", "whistleblower"),
    [("phase0", 128, 512), ("altair", 64, 512), ("bellatrix", 32, 512), ("deneb", 32, 512), ("electra", 4096, 4096)],
)
def test_initial_penalty_and_whistleblower_reward(name, initial, whistleblower, tolerance):
    """EB over 128, 64, 32 and 4,096; the reporter's 512 and 4,096; both proportional to the balance."""
    fork = forks.get(name)
    for balance in (0.0, 32.0, 2048.0):
        penalty = slashing.initial_slashing_penalty(fork, effective_balance_eth=balance)
        reward = slashing.whistleblower_reward(fork, effective_balance_eth=balance)
        np.testing.assert_allclose([penalty, reward], [balance / initial, balance / whistleblower], rtol=tolerance)


def test_published_initial_penalties(published, tolerance):
    value = published["slash_initial"]["value"]

    def penalty(name, balance):
        return float(slashing.initial_slashing_penalty(forks.get(name), effective_balance_eth=balance))

    ours = [penalty("bellatrix", 32.0), penalty("electra", 32.0), penalty("electra", 2048.0)]
    np.testing.assert_allclose(
        ours, [value["bellatrix_32"], value["electra_32"], value["electra_2048"]], rtol=tolerance
    )
    assert abs(100 * penalty("electra", 1.0) - value["electra_pct"]) < 0.5e-4


@pytest.mark.parametrize(("name", "multiplier"), [("phase0", 1), ("altair", 2), ("bellatrix", 3), ("gloas", 3)])
def test_correlation_by_hand_and_its_cap(name, multiplier, tolerance):
    """EB k S/T up to S = T/k, from where on all of EB is lost, and never more; nothing for S = 0."""
    fork = forks.get(name)

    def penalty(slashed):
        return float(
            slashing.correlation_penalty(
                fork, effective_balance_eth=32.0, total_stake_eth=3e6, slashed_stake_eth=slashed
            )
        )

    np.testing.assert_allclose(penalty(3e4), 32 * multiplier / 100, rtol=tolerance)
    np.testing.assert_allclose(penalty(3e6 / multiplier), 32.0, rtol=tolerance)
    assert penalty(3e6) == 32.0
    assert penalty(0.0) == 0.0


def test_published_third_of_the_stake(published):
    """Multiplier 3: one third of the stake slashed within the window takes whole effective balances, less does not."""
    third = published["slash_full"]["value"]
    total = 36e6
    lost = [
        float(
            slashing.correlation_penalty(
                FULU, effective_balance_eth=32.0, total_stake_eth=total, slashed_stake_eth=total * share
            )
        )
        for share in (third * (1 + 1e-6), third * 0.999)
    ]
    assert lost[0] == 32.0
    assert abs(lost[1] - 32.0 * 0.999) < 1e-4


def test_published_correlation_rounding(published):
    """Validator 20075, phase 0: 15 validators of 32 ETH slashed out of 1.2M ETH; 0.0124 ETH by the law, 0 applied.

    The initial quarter of an ETH had taken its effective balance to 31 ETH, so the law gives 31 * 480/1.2e6, exactly.
    The integer rule floors to whole ETH before the multiplication with the increment: 31 * 480 // 1.2e6 = 0.
    """
    exact = float(
        slashing.correlation_penalty(
            forks.get("phase0"), effective_balance_eth=31.0, total_stake_eth=1.2e6, slashed_stake_eth=15 * 32.0
        )
    )
    assert "exact 0.0124 ETH, applied 0" in published["slash_corr_rounding"]["value"]["example_val20075"]
    assert abs(exact - 0.0124) < 1e-8
    assert 31 * min(15 * 32 * GWEI, 1_200_000 * GWEI) // (1_200_000 * GWEI) == 0


def test_correlation_is_homogeneous(tolerance):
    """Balance, slashed and total stake in another unit: the penalty is in that unit, its share the same."""

    def penalty(unit):
        return slashing.correlation_penalty(
            FULU, effective_balance_eth=32.0 * unit, total_stake_eth=3e7 * unit, slashed_stake_eth=1e6 * unit
        )

    np.testing.assert_allclose(float(penalty(7.0)), 7 * float(penalty(1.0)), rtol=tolerance)


def test_marginal_correlation_penalty(tolerance):
    """Each further slashed ETH costs the validator 3 EB/T below the cap, nothing above it, and no more at the cap."""

    def slope(slashed):
        return float(
            jax.grad(
                lambda s: slashing.correlation_penalty(
                    FULU, effective_balance_eth=32.0, total_stake_eth=3e7, slashed_stake_eth=s
                )
            )(slashed)
        )

    np.testing.assert_allclose(slope(5e6), 3 * 32 / 3e7, rtol=tolerance)
    assert slope(1.1e7) == 0.0
    assert 0.0 <= slope(1e7) <= 3 * 32 / 3e7 * (1 + tolerance)


@pytest.mark.parametrize(
    ("name", "preset", "queue", "expected"),
    [
        ("fulu", "mainnet", 0.0, 8192.0),
        ("fulu", "mainnet", 256.0 * 7931, 8192.0),  # 7,931 + 5 + 256: the two are equal
        ("fulu", "mainnet", 256.0 * 10_000, 10_261.0),
        ("deneb", "mainnet", 16 * 32.0 * 10_000, 10_261.0),  # 34M ETH are 1,062,500 validators, churn 16.2 smoothly
        ("gloas", "mainnet", 1e6, 8192.0),
        ("fulu", "minimal", 128.0 * 10, 10 + 5 + 256.0),  # 64 epochs only, so the exit decides
    ],
)
def test_withdrawability_delay_by_hand(name, preset, queue, expected, tolerance):
    """The larger of 8,192 epochs and the exit queue plus lookahead 5 and withdrawability delay 256."""
    fork = forks.get(name, preset=preset)
    delay = float(slashing.withdrawability_delay_epochs(fork, exit_queue_eth=queue, total_stake_eth=3.4e7))
    if name == "deneb":  # not floored to whole validators
        expected = 261 + 10_000 * 16 / (3.4e7 / 32 / 65_536)
    np.testing.assert_allclose(delay, expected, rtol=tolerance)


def test_published_attestation_tail(published, tolerance):
    """8,192 epochs of 40/64 of 32 * 505 Gwei, 0.0827392 ETH; 505 is b = 505.96 Gwei at 16M ETH, cut off.

    So the smooth value is above the published by 505.96/505, a relative 1/505 at most.
    """
    value = published["slash_attestation_tail"]["value"]
    tail = float(
        slashing.waiting_penalty(FULU, effective_balance_eth=32.0, total_stake_eth=16e6, waiting_epochs=8192.0)
    )
    b = 64e9 / math.sqrt(16e15)
    np.testing.assert_allclose(tail * 505 / b, value, rtol=10 * tolerance)
    assert 1 < tail / value < 1 + 1 / 505


def test_loss_is_the_sum_of_its_parts(tolerance):
    """And each part is the function of that name; nothing is negative; a larger queue costs more."""
    short, long = (slashing.slashing_loss(FULU, **EVENT, exit_queue_eth=queue) for queue in (0.0, 2.65e6))
    delay = slashing.withdrawability_delay_epochs(FULU, exit_queue_eth=2.65e6, total_stake_eth=3.5e7)
    parts = [
        slashing.initial_slashing_penalty(FULU, effective_balance_eth=2020.0),
        slashing.correlation_penalty(FULU, **EVENT),
        slashing.waiting_penalty(FULU, **STAKE, waiting_epochs=delay),
    ]
    np.testing.assert_allclose([long.initial, long.correlation, long.waiting], parts, rtol=tolerance)
    np.testing.assert_allclose(float(long.total), sum(map(float, parts)), rtol=tolerance)
    assert short.initial == long.initial
    assert 0 < float(short.waiting) < float(long.waiting)


def test_nothing_staked_nothing_lost():
    loss = slashing.slashing_loss(FULU, effective_balance_eth=0.0, total_stake_eth=3e7, slashed_stake_eth=32.0)
    assert [float(part) for part in jax.tree.leaves(loss)] == [0.0] * 4


@pytest.mark.parametrize("increments", [32, 500, 2048])
@pytest.mark.parametrize("waiting", [8192, 10_600])
def test_loss_against_the_integer_recursion(increments, waiting, tolerance):
    """Epoch by epoch in integers, Electra rules, with an effective balance that follows the falling balance.

    Above: the smooth waiting part is too large by at most (b - r)/b < 1/r, for r Gwei an increment, by 2 Gwei of
    floors an epoch, and by the fall of the effective balance: never more than the loss itself plus 0.75 ETH, on the
    waiting and correlation parts. Below: the effective balance is never above the first, and correlation floors only
    down, so by rounding alone; the recursion waits the same number of epochs.
    """
    stake, slashed = 35_000_000, 400_000
    exact = (
        integer_rules.slashed_loss(
            balance=increments * GWEI, total=stake * GWEI, slashed=slashed * GWEI, waiting_epochs=waiting
        )
        / 1e9
    )
    smooth = slashing.slashing_loss(
        FULU,
        effective_balance_eth=float(increments),
        total_stake_eth=float(stake),
        slashed_stake_eth=float(slashed),
        exit_queue_eth=(waiting - 261) * 256.0,
    )
    total, r = float(smooth.total), integer_rules.base_reward_per_increment(stake * GWEI)
    falling = (total + 0.75) / increments * (total - float(smooth.initial))
    bound = float(smooth.waiting) / r + 2e-9 * waiting + falling + increments * 1e-9
    assert -10 * tolerance * total <= total - exact < bound


def test_published_first_large_slashing(published, shared):
    """A validator of 2,020 ETH, slashed on 2025-09-10 with 39 of 32 ETH, paid out on 2025-10-28: a loss of 5.53 ETH.

    With nobody ahead in the exit queue the loss is 4.56 ETH: initial 0.49, correlation 0.56, and 3.51 for 8,192
    epochs. A queue of 2.65M ETH (network_daily.csv of 2025-09-11; the day before ends at 1.06M) makes it 10,613 epochs
    and 5.59 ETH, 1.1 % above the published: the integer recursion takes 5.58 (its base reward is 339 Gwei, not
    339.12, and its effective balance falls). The published loss asks for 10,466 epochs, and both end on the day of
    the payment or up to two before it: the wait, and not only the loss, is that of the queue.
    """
    loss_eth = published["slash_maxeb_real"]["value"]
    with (shared / "data" / "network_daily.csv").open() as file:
        days = {row["date"]: row for row in csv.DictReader(file)}
    before, after = days["2025-09-10"], days["2025-09-11"]
    stake, slashed = float(after["staked_eth"]), 39 * 32.0 + 2020.0

    def loss(queue):
        return slashing.slashing_loss(
            FULU,
            effective_balance_eth=2020.0,
            total_stake_eth=stake,
            slashed_stake_eth=slashed,
            exit_queue_eth=queue,
        )

    without, coupled = loss(0.0), loss(float(after["exit_queue_eth"]))
    assert float(loss(float(before["exit_queue_eth"])).total) == float(without.total)
    assert abs(float(without.total) - 4.56) < 0.005
    assert abs(float(coupled.total) - 5.59) < 0.005
    assert abs(float(coupled.total) / loss_eth - 1) < 0.0125
    assert float(without.total) / loss_eth < 0.83

    delay = float(
        slashing.withdrawability_delay_epochs(
            FULU, exit_queue_eth=float(after["exit_queue_eth"]), total_stake_eth=stake
        )
    )
    exact = integer_rules.slashed_loss(
        balance=2020 * GWEI, total=int(stake) * GWEI, slashed=int(slashed) * GWEI, waiting_epochs=round(delay)
    )
    assert abs(exact / 1e9 - 5.583) < 0.001
    needed = (loss_eth - float(coupled.initial) - float(coupled.correlation)) / float(coupled.waiting) * delay
    wait = (datetime.date(2025, 10, 28) - datetime.date(2025, 9, 10)).days
    assert wait - 2 < needed / DAY < delay / DAY < wait


def test_queue_lengthens_the_wait_only_past_8192_epochs(tolerance):
    """d(delay)/d(queue) is 0 below the minimum and one over the churn limit beyond; the loss is coupled to it."""
    churn = float(queues.exit_churn_limit(FULU, total_stake_eth=3.5e7))
    threshold = (8192.0 - 261.0) * churn

    def loss(queue):
        return slashing.slashing_loss(FULU, **EVENT, exit_queue_eth=queue).total

    slopes = jax.jit(jax.vmap(jax.grad(loss)))(jnp.asarray([0.5, 0.99, 1.01, 2.0]) * threshold)
    per_epoch = float(slashing.waiting_penalty(FULU, **STAKE, waiting_epochs=1.0))
    np.testing.assert_allclose(slopes, [0.0, 0.0, per_epoch / churn, per_epoch / churn], rtol=10 * tolerance)


def test_one_compilation_for_all_events():
    """Lanes of events under one fork, and Fulu with Electra's structure, agree with one call at a time."""
    count = 16
    balances = jnp.linspace(32.0, 2048.0, count)
    slashed = jnp.linspace(3e3, 2e7, count)
    traces = 0

    def batch(fork):
        nonlocal traces
        traces += 1
        return jax.vmap(
            lambda balance, stake: (
                slashing.slashing_loss(
                    fork, effective_balance_eth=balance, total_stake_eth=3.5e7, slashed_stake_eth=stake
                ).total
            )
        )(balances, slashed)

    compiled = jax.jit(batch)
    electra, fulu = compiled(forks.get("electra")), compiled(FULU)
    assert traces == 1
    assert np.array_equal(electra, fulu)
    assert np.all(np.diff(np.asarray(fulu)) > 0)
