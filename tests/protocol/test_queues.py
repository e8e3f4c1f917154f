from __future__ import annotations

import csv
import datetime
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.core import leaves
from jaxstake.core.checks import checked
from jaxstake.protocol import forks, queues
from tests.oracles import formulas
from tests.oracles.formulas import Bad, Formula

FULU, GLOAS, DENEB, CAPELLA = (forks.get(name) for name in ("fulu", "gloas", "deneb", "capella"))
NEVER = np.uint64(2**64 - 1)
GENESIS = datetime.datetime(2020, 12, 1, 12, 0, 23)  # of mainnet, UTC
ANY_EPOCHS = {"slots_per_epoch", "slot_duration_ms"}
BY_STAKE, BY_COUNT = {"churn_limit_quotient"}, {"min_per_epoch_churn_limit", "max_effective_balance_gwei"}

POSITIVE, NON_NEGATIVE, SHARE = "greater than 0 and finite", "at least 0 and finite", "in (0, 1]"
STAKE = (Bad("total_stake_eth", 0.0, POSITIVE), Bad("total_stake_eth", -1.0, POSITIVE))
QUEUE = Bad("queue_eth", -1.0, NON_NEGATIVE)
SWEEP = (Bad("validators", -1.0, NON_NEGATIVE), Bad("block_rate", 0.0, SHARE), Bad("block_rate", 1.1, SHARE))

# Stakes at which each branch of the limits is active, away from the kinks: 300,000 ETH is below every minimum,
# 1.2e7 between minimum and cap of Electra, 6e6 of Gloas, 3.4e7 above both caps.
LIMITS = [
    Formula(queues.activation_churn_limit, {"total_stake_eth": 1.2e7}, BY_STAKE, STAKE, label="shared"),
    Formula(queues.activation_churn_limit, {"total_stake_eth": 6e6}, BY_STAKE, STAKE, fork="gloas", label="separate"),
    Formula(queues.activation_churn_limit, {"total_stake_eth": 1.2e7}, BY_STAKE, fork="capella", label="count"),
    Formula(queues.exit_churn_limit, {"total_stake_eth": 1.2e7}, BY_STAKE, STAKE, label="shared"),
    Formula(queues.exit_churn_limit, {"total_stake_eth": 3.4e7}, BY_STAKE, STAKE, fork="gloas", label="separate"),
    Formula(queues.exit_churn_limit, {"total_stake_eth": 3.4e7}, BY_STAKE, STAKE, fork="deneb", label="count"),
    Formula(
        queues.consolidation_churn_limit,
        {"total_stake_eth": 3.4e7},
        BY_STAKE | {"max_per_epoch_activation_exit_churn_limit_gwei"},
        STAKE,
        label="shared",
    ),
    Formula(
        queues.consolidation_churn_limit,
        {"total_stake_eth": 3.4e7},
        {"consolidation_churn_limit_quotient"},
        STAKE,
        fork="gloas",
        label="separate",
    ),
]
CONSTANT_LIMITS = [
    Formula(
        queues.activation_churn_limit, {"total_stake_eth": 3e5}, {"min_per_epoch_churn_limit_gwei"}, label="minimum"
    ),
    Formula(
        queues.exit_churn_limit,
        {"total_stake_eth": 3e5},
        {"min_per_epoch_churn_limit_gwei"},
        fork="gloas",
        label="minimum",
    ),
    Formula(queues.exit_churn_limit, {"total_stake_eth": 3e5}, BY_COUNT, fork="deneb", label="minimum"),
    Formula(
        queues.activation_churn_limit,
        {"total_stake_eth": 3.4e7},
        {"max_per_epoch_activation_exit_churn_limit_gwei"},
        STAKE,
        label="cap",
    ),
    Formula(
        queues.activation_churn_limit,
        {"total_stake_eth": 3.4e7},
        {"max_per_epoch_activation_churn_limit_gwei"},
        STAKE,
        fork="gloas",
        label="cap",
    ),
    Formula(
        queues.activation_churn_limit,
        {"total_stake_eth": 3.4e7},
        {"max_per_epoch_activation_churn_limit", "max_effective_balance_gwei"},
        STAKE,
        fork="deneb",
        label="cap",
    ),
]
WAITS = [
    Formula(
        queues.exit_queue_epochs,
        {"queue_eth": 1e6, "total_stake_eth": 1.2e7},
        BY_STAKE | {"max_seed_lookahead"},
        (*STAKE, QUEUE),
        kinks=({"queue_eth": 0.0}, {"total_stake_eth": 128.0 * 65536}, {"total_stake_eth": 256.0 * 65536}),
    ),
    Formula(
        queues.entry_wait,
        {"queue_eth": 1e6, "total_stake_eth": 1.2e7, "deposit_eth": 32.0},
        BY_STAKE | ANY_EPOCHS | {"max_seed_lookahead"},
        (*STAKE, QUEUE, Bad("deposit_eth", 0.0, POSITIVE)),
        kinks=({"queue_eth": 0.0}, {"total_stake_eth": 256.0 * 65536, "deposit_eth": 16.0}),
    ),
    Formula(
        queues.entry_wait,
        {"queue_eth": 1e6, "total_stake_eth": 1.2e7, "deposit_eth": 2.0},
        ANY_EPOCHS | {"max_seed_lookahead", "max_pending_deposits_per_epoch"},
        (*STAKE, QUEUE, Bad("deposit_eth", 0.0, POSITIVE)),
        label="micro",
    ),
    Formula(
        queues.exit_wait,
        {"queue_eth": 1e6, "total_stake_eth": 1.2e7, "validators": 1e6, "block_rate": 0.9},
        BY_STAKE
        | ANY_EPOCHS
        | {"max_seed_lookahead", "min_validator_withdrawability_delay", "max_withdrawals_per_payload"},
        (*STAKE, QUEUE, *SWEEP),
        kinks=({"queue_eth": 0.0, "validators": 0.0},),
    ),
    Formula(
        queues.withdrawal_sweep_epochs,
        {"validators": 1e6, "withdrawable_share": 0.5, "block_rate": 0.9},
        {"max_withdrawals_per_payload", "slots_per_epoch"},
        (*SWEEP, Bad("withdrawable_share", 0.0, SHARE), Bad("withdrawable_share", 1.5, SHARE)),
        kinks=({"withdrawable_share": 16 / 16384}, {"validators": 0.0}, {"withdrawable_share": 1.0, "block_rate": 1.0}),
    ),
    Formula(
        queues.withdrawal_sweep_epochs,
        {"validators": 1e6, "withdrawable_share": 1e-4, "block_rate": 0.9},
        {"max_validators_per_withdrawals_sweep", "slots_per_epoch"},
        (*SWEEP, Bad("withdrawable_share", 0.0, SHARE)),
        label="sparse",
    ),
]
FORMULAS = [*LIMITS, *CONSTANT_LIMITS, *WAITS]
# Where a limit is at its minimum or cap, the stake does not count; where the number of deposits binds, nor does the
# churn, nor, in a sparse sweep, the share that has something to withdraw. The default deposit is given in all points.
UNUSED = {formula.name: {"total_stake_eth"} for formula in CONSTANT_LIMITS} | {
    "entry_wait": {"deposit_eth"},
    "entry_wait-micro": {"total_stake_eth"},
    "withdrawal_sweep_epochs-sparse": {"withdrawable_share"},
}


# --- What every formula must do -------------------------------------------------------------------------------------


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_modes_agree(formula):
    results = formulas.lanes_by_mode(formula)
    for mode in ("jit", "vmap"):
        np.testing.assert_allclose(results[mode], results["eager"], rtol=formulas.ROUNDING, atol=0, err_msg=mode)


@pytest.mark.parametrize(**formulas.names(FORMULAS))
def test_gradients_reach_every_argument_and_constant(formula, x64):
    found = formulas.elasticities(formula)
    assert set(found) == formulas.expected_dependence(formula) - UNUSED.get(formula.name, set())
    assert np.all(np.isfinite(list(found.values())))
    if formula in CONSTANT_LIMITS:
        assert list(found.values()) == pytest.approx([1.0] * len(found))  # a product of constants
    elif x64:
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


def test_lookahead_depends_on_one_constant():
    assert [queues.lookahead_epochs(forks.get(name)) for name in forks.NAMES] == [5.0] * len(forks.NAMES)
    slopes = leaves.as_dict(jax.grad(queues.lookahead_epochs)(FULU))
    assert {name for name, slope in slopes.items() if slope != 0.0} == {"max_seed_lookahead"}


@pytest.mark.parametrize(
    ("function", "arguments", "fork", "missing"),
    [
        (queues.consolidation_churn_limit, {"total_stake_eth": 1e7}, "deneb", "max_consolidation_requests_per_payload"),
        (queues.withdrawal_sweep_epochs, {"validators": 1e6}, "bellatrix", "max_withdrawals_per_payload"),
        (queues.exit_wait, {"queue_eth": 1.0, "total_stake_eth": 1e7, "validators": 1.0}, "altair", "max_withdrawals"),
    ],
)
def test_forks_without_the_rule_are_refused(function, arguments, fork, missing):
    with pytest.raises(ValueError, match=f"this fork does not define {missing}"):
        function(forks.get(fork), **arguments)


def test_checked_turns_a_traced_bad_lane_into_an_error():
    def batch(stakes):
        return jax.vmap(lambda stake: queues.entry_wait(FULU, queue_eth=1e6, total_stake_eth=stake).total)(stakes)

    with pytest.raises(ValueError, match=r"total_stake_eth must be greater than 0 and finite, got -1e6|-1000000"):
        checked(batch)(jnp.asarray([1e6, -1e6]))
    assert np.array_equal(np.isnan(jax.jit(batch)(jnp.asarray([1e6, -1e6]))), [False, True])


# --- Churn limits against the golden vectors ------------------------------------------------------------------------

_TOTAL = "total_active_balance"
_BOTH = (queues.activation_churn_limit, queues.exit_churn_limit)
COLUMNS = {
    "validator_churn_limit": _BOTH,
    "validator_activation_churn_limit": (queues.activation_churn_limit,),
    "activation_exit_churn_limit": _BOTH,
    "activation_churn_limit": (queues.activation_churn_limit,),
    "exit_churn_limit": (queues.exit_churn_limit,),
    "consolidation_churn_limit": (queues.consolidation_churn_limit,),
    "balance_churn_limit": (
        lambda fork, **stake: queues.exit_churn_limit(fork, **stake) + queues.consolidation_churn_limit(fork, **stake),
    ),
}
"""Array of the vectors, and the smooth limits that it rounds down."""


def applicable(fork_name: str, column: str) -> tuple:
    """The smooth limits to compare with a column; a count-based limit is superseded from Electra on."""
    fork = forks.get(fork_name)
    functions = COLUMNS[column]
    if column.startswith("validator_"):
        if fork.churn_rule != "validators":
            return ()
        if column == "validator_churn_limit" and fork.max_per_epoch_activation_churn_limit is not None:
            return (queues.exit_churn_limit,)  # activations have their own column
    return functions


def excess(fork_name: str, preset: str, column: str, exact: np.ndarray, stake_eth: np.ndarray) -> list[np.ndarray]:
    """Smooth less exact limit, in units of what the exact one is rounded to: a validator of 32 ETH, or 1 ETH."""
    fork = forks.get(fork_name, preset=preset)
    unit = 32.0 if fork.churn_rule == "validators" else 1.0
    scale = unit if column.startswith("validator_") else 1e-9
    smooth = [
        np.asarray(jax.vmap(lambda stake, f=function: f(fork, total_stake_eth=stake))(jnp.asarray(stake_eth, float)))
        for function in applicable(fork_name, column)
    ]
    return [(values - exact.astype(float) * scale) / unit for values in smooth]


def assert_rounded_down(gaps: list[np.ndarray], sizes: np.ndarray) -> None:
    """Every gap in [0, 1), up to the rounding of the limit itself in this precision."""
    rounding = 4 * float(jnp.finfo(jnp.result_type(float)).eps) * sizes
    for gap in gaps:
        assert np.all(gap >= -rounding)
        assert np.all(gap < 1.0 + rounding)


def test_churn_limits_of_all_tables(shared):
    """Smooth less exact is in [0, 1) ETH, or in [0, 1) validator of 32 ETH before Electra.

    The exact limit takes the quotient rounded down to whole units, the smooth one as it is; minimum and cap are
    whole units, and rounding down commutes with `min` and `max` by whole units. A consolidation limit is a
    difference of two such limits of which the second is either the first (gap 0) or the cap (gap of the first).
    """
    compared, largest = set(), {}
    for path in sorted((shared / "vectors").glob("tables_*.npz")):
        _, fork_name, preset, *_ = path.stem.split("_")
        table = np.load(path)
        for column in COLUMNS:
            by_count = column.startswith("validator_")
            exact = table.get(f"table.{column}" + ("_by_count" if by_count else ""))
            if exact is None or not applicable(fork_name, column):
                continue
            stake = table["table.active_count"] * 32.0 if by_count else table[f"table.{_TOTAL}"] / 1e9
            gaps = excess(fork_name, preset, column, exact, stake)
            assert_rounded_down(gaps, 1.0 + stake / 16.0)
            largest[column] = max(largest.get(column, 0.0), *(gap.max() for gap in gaps))
            compared.add((fork_name, preset, column))
    assert {(fork_name, preset) for fork_name, preset, _ in compared} >= {
        (fork_name, preset)
        for fork_name in ("altair", "bellatrix", "deneb", "electra", "fulu", "gloas")
        for preset in ("mainnet", "minimal")
    }
    assert set(largest) == set(COLUMNS)
    assert min(largest.values()) > 0.5, "the rows must show the rounding"


def test_churn_limits_of_all_epoch_cases(shared):
    """The same on the state of every epoch case; its count-based limit takes the validators active in that epoch."""
    compared = set()
    for path in sorted((shared / "vectors").glob("epoch_*.npz")):
        _, fork_name, preset, *_ = path.stem.split("_")
        case = np.load(path)
        epoch = case["in.current_epoch"]
        active = np.sum((case["in.activation_epoch"] <= epoch) & (epoch < case["in.exit_epoch"]))
        for column in COLUMNS:
            exact = case.get(f"calc.{column}")
            if exact is None or not applicable(fork_name, column):
                continue
            stake = active * 32.0 if column.startswith("validator_") else case[f"calc.{_TOTAL}"] / 1e9
            stake = np.asarray([stake])
            assert_rounded_down(excess(fork_name, preset, column, exact, stake), 1.0 + stake / 16.0)
            compared.add((fork_name, preset, column))
    assert len({(fork_name, preset) for fork_name, preset, _ in compared}) == 14
    assert {column for *_, column in compared} == set(COLUMNS)


# --- The exact exit queue -------------------------------------------------------------------------------------------


def test_exit_epochs_of_all_tables(shared, only_x64):
    compared = set()
    for path in sorted((shared / "vectors").glob("tables_*.npz")):
        _, fork_name, preset, *_ = path.stem.split("_")
        table = np.load(path)
        if "exitq.exit_epoch" not in table:
            continue
        for run, total in enumerate(table["exitq.total_active_balance"]):
            found = queues.exit_epochs(
                forks.get(fork_name, preset=preset),
                amounts_gwei=jnp.asarray(table["exitq.amount"][run], float),
                total_stake_gwei=float(total),
                current_epoch=float(table["exitq.current_epoch"]),
                earliest_exit_epoch=float(table["exitq.earliest_epoch_start"][run, 0]),
                exit_balance_to_consume_gwei=float(table["exitq.balance_to_consume_start"][run, 0]),
            )
            assert np.array_equal(np.asarray(found).astype(np.uint64), table["exitq.exit_epoch"][run]), (path.stem, run)
        compared.add((fork_name, preset))
    assert len(compared) == 6


def test_exit_epochs_of_all_exit_cases(shared, only_x64):
    """Who already has an exit epoch when it asks keeps it and takes no place in the queue."""
    requests = 0
    for path in sorted((shared / "vectors").glob("exits_*.npz")):
        _, fork_name, preset, *_ = path.stem.split("_")
        fork = forks.get(fork_name, preset=preset)
        if fork.churn_rule == "validators":
            continue
        case = np.load(path)
        epoch, exits = case["in.current_epoch"], case["in.exit_epoch"]
        active = (case["in.activation_epoch"] <= epoch) & (epoch < exits)
        asked, first = np.unique(case["exit.index"], return_index=True)
        places = np.sort(first[exits[asked] == NEVER])
        balances = case["in.effective_balance"]
        found = queues.exit_epochs(
            fork,
            amounts_gwei=jnp.asarray(balances[case["exit.index"][places]], float),
            total_stake_gwei=max(float(balances[active].sum()), 1e9),
            current_epoch=float(epoch),
            earliest_exit_epoch=float(case["in.earliest_exit_epoch"]),
            exit_balance_to_consume_gwei=float(case["in.exit_balance_to_consume"]),
        )
        assert np.array_equal(np.asarray(found).astype(np.uint64), case["exit.exit_epoch"][places]), path.stem
        requests += len(places)
    assert requests > 60


def exit_epochs_by_hand(amounts, *, churn, current, earliest, left) -> list[int]:
    """`compute_exit_epoch_and_update_churn` in Python integers."""
    epochs = []
    for amount in amounts:
        first = max(earliest, current + 5)
        left = churn if earliest < first else left
        if amount > left:
            more = (amount - left - 1) // churn + 1
            first, left = first + more, left + more * churn
        earliest, left = first, left - amount
        epochs.append(first)
    return epochs


def test_exit_epochs_of_random_queues(rng, only_x64):
    """Sizes up to far above a validator's; a quarter of them are whole epochs of churn and 1 Gwei."""
    for high in (32 * 10**9, 2048 * 10**9, 2**50):
        amounts = rng.integers(1, high, size=40)
        amounts[::4] = 256 * 10**9 * rng.integers(1, max(2, high // (256 * 10**9)), size=10) + 1
        found = queues.exit_epochs(
            FULU,
            amounts_gwei=jnp.asarray(amounts, float),
            total_stake_gwei=36e15,
            current_epoch=1000.0,
            earliest_exit_epoch=1010.0,
            exit_balance_to_consume_gwei=77e9,
        )
        by_hand = exit_epochs_by_hand(
            [int(a) for a in amounts], churn=256 * 10**9, current=1000, earliest=1010, left=77 * 10**9
        )
        assert np.asarray(found).astype(int).tolist() == by_hand


def test_exit_epochs_modes_and_tie_to_the_smooth_wait(tolerance):
    """k validators of 32 ETH, eight of which fit an epoch: epoch 5 + ceil(k/8) - 1, the smooth wait less than one more.

    The smooth law is `queue / churn + lookahead`; the exact epoch is that, rounded up, less the first epoch, which
    starts empty, so `smooth - exact` is in (0, 1].
    """
    amounts = jnp.full(40, 32e9)

    def exits(fork, amounts, total):
        return queues.exit_epochs(fork, amounts_gwei=amounts, total_stake_gwei=total, current_epoch=0.0)

    eager = np.asarray(exits(FULU, amounts, 36e15))
    assert eager.tolist() == [5 + math.ceil(k / 8) - 1 for k in range(1, 41)]
    assert np.array_equal(jax.jit(exits)(FULU, amounts, 36e15), eager)
    batch = jax.vmap(exits, in_axes=(None, None, 0))(FULU, amounts, jnp.asarray([36e15, 8.4e15]))
    assert np.array_equal(batch[0], eager)
    assert batch[1].tolist() == [5 + math.ceil(k / 4) - 1 for k in range(1, 41)]  # 128 ETH an epoch: four
    smooth = [float(queues.exit_queue_epochs(FULU, queue_eth=32.0 * k, total_stake_eth=36e6)) for k in range(1, 41)]
    gap = np.asarray(smooth) - eager
    assert np.all(gap > 0)
    assert np.all(gap <= 1 + 40 * tolerance)


def test_exit_epochs_takes_integers():
    found = queues.exit_epochs(
        FULU, amounts_gwei=jnp.asarray([2, 3]), total_stake_gwei=36e15, current_epoch=jnp.asarray(7)
    )
    assert found.tolist() == [12.0, 12.0]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"amounts_gwei": jnp.asarray([32e9, -1.0])}, "amounts_gwei must be at least 0 and finite, got -1.0"),
        ({"total_stake_gwei": 0.0}, "total_stake_gwei must be greater than 0 and finite, got 0.0"),
        ({"current_epoch": -1.0}, "current_epoch must be at least 0 and finite, got -1.0"),
        ({"earliest_exit_epoch": math.inf}, "earliest_exit_epoch must be at least 0 and finite, got inf"),
        (
            {"exit_balance_to_consume_gwei": -5.0},
            "exit_balance_to_consume_gwei must be at least 0 and finite, got -5.0",
        ),
    ],
)
def test_exit_epochs_refuses_bad_values(bad, message):
    good = {
        "amounts_gwei": jnp.full(2, 32e9),
        "total_stake_gwei": 36e15,
        "current_epoch": 9.0,
        "earliest_exit_epoch": 20.0,
        "exit_balance_to_consume_gwei": 1e9,
    }
    with pytest.raises(ValueError, match=message):
        queues.exit_epochs(FULU, **(good | bad))
    traced = jax.jit(lambda values: queues.exit_epochs(FULU, **values))(good | bad)
    assert np.isnan(traced[-1])
    assert np.all(np.isfinite(jax.jit(lambda values: queues.exit_epochs(FULU, **values))(good)))


def test_exit_epochs_refuses_other_shapes_and_forks():
    with pytest.raises(ValueError, match=r"amounts_gwei must be a vector \[E\], got shape \(\)"):
        queues.exit_epochs(FULU, amounts_gwei=jnp.asarray(1.0), total_stake_gwei=1e15, current_epoch=0.0)
    with pytest.raises(ValueError, match="this fork does not define min_per_epoch_churn_limit_gwei"):
        queues.exit_epochs(DENEB, amounts_gwei=jnp.ones(1), total_stake_gwei=1e15, current_epoch=0.0)


# --- Published numbers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("entry", "validators"), [("churn_404103", 404_103), ("churn_1053742", 1_053_742)])
def test_published_count_based_churn(published, entry, validators):
    """gobitfly/eth2-beaconchain-explorer issue 1385 and EIP-7922: whole validators per epoch, and per day."""
    limit = queues.exit_churn_limit(CAPELLA, total_stake_eth=32.0 * validators)
    whole = math.floor(float(limit) / 32)
    assert whole == published[entry]["value"]["churn"]
    assert whole * forks.epochs_per_day(CAPELLA) == published[entry]["value"]["per_day"]
    minimum = queues.exit_churn_limit(CAPELLA, total_stake_eth=32.0 * 200_000)
    assert float(minimum) / 32 * forks.epochs_per_day(CAPELLA) == 900.0  # the same issue: 4 per epoch at the start


def test_published_month_of_exits():
    """EIP-7922: 16 validators per epoch are 108,000 in 30 days, 10.2 % of 1,053,742."""
    whole = math.floor(float(queues.exit_churn_limit(CAPELLA, total_stake_eth=32.0 * 1_053_742)) / 32)
    month = whole * forks.epochs_per_day(CAPELLA) * 30
    assert month == 108_000
    assert month / 1_053_742 == pytest.approx(0.102, abs=5e-4)


def test_published_electra_churn_of_a_day(published):
    """57,600 ETH a day, from 256 * 65,536 = 16.78 million ETH at stake on, and less below."""
    from_here = 256.0 * 65_536
    for stake, day in ((from_here, published["electra_churn_day"]["value"]), (2 * from_here, 57_600), (1e7, 34332.28)):
        limit = queues.exit_churn_limit(FULU, total_stake_eth=stake)
        assert float(limit) * forks.epochs_per_day(FULU) == pytest.approx(day, rel=1e-6)


def test_published_queue_of_september_2025(published):
    """Kiln's exit, September 2025: 2.5, 2.6 and 2.65 million ETH wait 43.4, 45.1 and 46.0 days at 256 ETH an epoch."""
    for queue, days in published["kiln_queue"]["value"].items():
        wait = queues.exit_wait(
            FULU, queue_eth=float(queue.removesuffix("M")) * 1e6, total_stake_eth=35.6e6, validators=1e6
        )
        assert round(float(wait.queue), 1) == days


def test_entry_queue_of_today():
    """2,262,825 ETH over 256 ETH an epoch and 225 epochs a day, by hand 39.285 days."""
    wait = queues.entry_wait(FULU, queue_eth=2_262_825.0, total_stake_eth=42_228_608.0)
    assert float(wait.queue) == pytest.approx(39.285, abs=5e-4)
    assert float(wait.total) == pytest.approx(39.285 + 9 / 225, abs=5e-4)


def test_gloas_lets_more_out_than_in():
    """At 42.2 million ETH: 256 in and 1,288 out per epoch, 644 consolidated."""
    stake = {"total_stake_eth": 42_228_608.0}
    limits = [
        queues.activation_churn_limit(GLOAS, **stake),
        queues.exit_churn_limit(GLOAS, **stake),
        queues.consolidation_churn_limit(GLOAS, **stake),
    ]
    assert [math.floor(float(limit)) for limit in limits] == [256, 1288, 644]
    assert float(queues.exit_churn_limit(FULU, **stake)) == 256.0


def fork_of(day: str) -> str:
    """The fork active on mainnet at the end of a day."""
    end = datetime.datetime.fromisoformat(day) + datetime.timedelta(days=1)
    return forks.at_epoch(int((end - GENESIS).total_seconds() // 384))


def network_waits(rows: list[dict[str, str]], side: str, fork_name: str) -> tuple[np.ndarray, np.ndarray]:
    """Published wait and the model's, days, on all days of a fork."""
    fork = forks.get(fork_name)
    rows = [row for row in rows if fork_of(row["date"]) == fork_name]
    by_count = fork.churn_rule == "validators"
    stake = jnp.asarray([32.0 * float(r["active_validators"]) if by_count else float(r["staked_eth"]) for r in rows])
    queue = jnp.asarray([float(row[f"{side}_queue_eth"]) for row in rows])
    wait = {
        "entry": lambda q, s: queues.entry_wait(fork, queue_eth=q, total_stake_eth=s).queue,
        "exit": lambda q, s: queues.exit_wait(fork, queue_eth=q, total_stake_eth=s, validators=1e6).queue,
    }[side]
    return np.asarray([float(row[f"{side}_wait_days"]) for row in rows]), np.asarray(jax.vmap(wait)(queue, stake))


@pytest.mark.parametrize("fork_name", ["capella", "deneb", "electra", "fulu"])
@pytest.mark.parametrize("side", ["entry", "exit"])
def test_waits_of_the_network(shared, side, fork_name, tolerance):
    """Every day of `network_daily.csv` (validatorqueue.com): wait in days from queue and stake.

    Where the limit is at its cap (entries from Deneb on, exits from Electra on) the model is the source's own rule
    and differs by the rounding to 0.01 days only. Where it follows the number of validators, the source uses
    whole validators (the model's limit is up to one validator higher, in 8 to 16) and lets the limit rise while the
    queue adds validators (its limit is then above the model's): -7.3 % to +2.5 % on waits above a day.
    """
    with (shared / "data" / "network_daily.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    published, model = network_waits(rows, side, fork_name)
    assert len(published) >= 25
    rounding = 0.005 + 10 * tolerance * published
    if (side, fork_name) in {("entry", "capella"), ("exit", "capella"), ("exit", "deneb")}:
        assert np.all(model - published >= -0.074 * published - rounding)
        assert np.all(model - published <= 0.025 * published + rounding)
    else:
        assert np.all(np.abs(model - published) <= rounding + 1e-9)


# --- Limits and invariances -----------------------------------------------------------------------------------------


def test_limits_of_the_churn():
    """Far below and far above: the minimum, and the cap or none. Deneb caps entries only."""
    low, high = {"total_stake_eth": 1.0}, {"total_stake_eth": 1e12}
    expected = {
        "capella": (128.0, 128.0, 1e12 / 65536, 1e12 / 65536),
        "deneb": (128.0, 128.0, 256.0, 1e12 / 65536),
        "electra": (128.0, 128.0, 256.0, 256.0),
        "gloas": (128.0, 128.0, 256.0, 1e12 / 32768),
    }
    for name, values in expected.items():
        fork = forks.get(name)
        found = [
            float(function(fork, **stake))
            for stake in (low, high)
            for function in (queues.activation_churn_limit, queues.exit_churn_limit)
        ]
        np.testing.assert_allclose(found, values, rtol=1e-6)


@pytest.mark.parametrize("stake", [1e6, 8.4e6, 1.7e7, 3.4e7, 2e8])
def test_electra_splits_one_churn(stake, tolerance):
    """Exits and consolidations together take `max(128, T/65,536)`; entries take as much as exits."""
    out = queues.exit_churn_limit(FULU, total_stake_eth=stake)
    rest = queues.consolidation_churn_limit(FULU, total_stake_eth=stake)
    np.testing.assert_allclose(float(out + rest), max(128.0, stake / 65536), rtol=10 * tolerance)
    assert float(queues.activation_churn_limit(FULU, total_stake_eth=stake)) == float(out)
    assert float(rest) >= 0.0


def test_waits_scale_with_queue_and_stake(tolerance):
    """Queue and stake times c leave a count-limited wait as it is; without a queue only the fixed delays remain."""
    for scale in (1.5, 3.0):
        waits = [queues.exit_queue_epochs(CAPELLA, queue_eth=s * 1e6, total_stake_eth=s * 2e7) for s in (1.0, scale)]
        np.testing.assert_allclose(float(waits[1]), float(waits[0]), rtol=10 * tolerance)
    entry = queues.entry_wait(FULU, queue_eth=0.0, total_stake_eth=3.4e7)
    np.testing.assert_allclose(
        [float(v) for v in jax.tree.leaves(entry)], [0.0, 4 / 225, 5 / 225, 0.0, 0.0, 9 / 225], rtol=10 * tolerance
    )
    leave = queues.exit_wait(FULU, queue_eth=0.0, total_stake_eth=3.4e7, validators=0.0)
    np.testing.assert_allclose(
        [float(v) for v in jax.tree.leaves(leave)], [0.0, 0.0, 5 / 225, 256 / 225, 0.0, 261 / 225],
        rtol=10 * tolerance, atol=1e-6,
    )  # fmt: skip


def test_wait_is_the_sum_of_its_parts(tolerance):
    for wait in (
        queues.entry_wait(GLOAS, queue_eth=1e6, total_stake_eth=3e7, deposit_eth=3.0),
        queues.exit_wait(GLOAS, queue_eth=1e6, total_stake_eth=3e7, validators=9e5, block_rate=0.99),
    ):
        *parts, total = (float(value) for value in jax.tree.leaves(wait))
        assert total == pytest.approx(sum(parts), rel=10 * tolerance)
        assert leaves.units(wait) == dict.fromkeys(leaves.names(wait), "days")


def test_more_stake_means_shorter_waits_until_the_cap():
    def slope(fork, stake):
        return float(jax.grad(lambda s: queues.exit_queue_epochs(fork, queue_eth=1e6, total_stake_eth=s))(stake))

    assert slope(FULU, 1.2e7) < 0.0
    assert slope(FULU, 3.4e7) == 0.0
    assert slope(GLOAS, 3.4e7) < 0.0


# --- The micro-staking limit ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deposit", "epochs"), [(1.0, 1e6 / 16), (4.0, 1e6 / 64), (15.9, 1e6 / 254.4), (16.0, 1e6 / 256), (32.0, 1e6 / 256)]
)
def test_number_of_deposits_binds_below_16_eth(deposit, epochs, tolerance):
    """16 deposits an epoch: one million ETH in deposits of 1 ETH takes 62,500 epochs, of 16 ETH and more 3,906."""
    wait = queues.entry_wait(FULU, queue_eth=1e6, total_stake_eth=3.4e7, deposit_eth=deposit)
    np.testing.assert_allclose(float(wait.queue), epochs / 225, rtol=10 * tolerance)


def test_default_deposit_is_a_full_validator_and_older_forks_count_no_deposits():
    stake = {"queue_eth": 1e6, "total_stake_eth": 3.4e7}
    full = queues.entry_wait(FULU, **stake)
    assert full == queues.entry_wait(FULU, **stake, deposit_eth=32.0)
    assert queues.entry_wait(DENEB, **stake, deposit_eth=1.0) == queues.entry_wait(DENEB, **stake)
    # Who deposits 1 ETH waits 16 times as long in the queue; the elasticity in the deposit's size is -1.
    tiny = queues.entry_wait(FULU, **stake, deposit_eth=1.0)
    assert float(tiny.queue) == pytest.approx(16 * float(full.queue), rel=1e-5)
    slope = jax.grad(lambda deposit: queues.entry_wait(FULU, **stake, deposit_eth=deposit).queue)(2.0)
    assert float(slope) == pytest.approx(-1e6 / 16 / 225 / 2.0**2, rel=1e-5)


# --- The withdrawal sweep -------------------------------------------------------------------------------------------


def sweep_blocks(withdrawable: np.ndarray) -> int:
    """Blocks of one round of `get_expected_withdrawals` (Capella): stop after 16 payments or 16,384 validators."""
    blocks, place = 0, 0
    while place < len(withdrawable):
        window = np.flatnonzero(withdrawable[place : place + 16_384])
        place += window[15] + 1 if len(window) >= 16 else 16_384
        blocks += 1
    return blocks


@pytest.mark.parametrize("share", [1.0, 0.5, 0.05, 0.005, 1e-4])
def test_sweep_against_counting_blocks(rng, share):
    """One round over 400,000 validators, block by block; the last is cut short, so within one block in 25 or more.

    The mean of the larger of two is above the larger mean: near a share of 1/1,024, where both limits bind about
    equally often, the smooth law is too short, so the shares here stay away from it.
    """
    validators = 400_000
    blocks = sweep_blocks(rng.random(validators) < share)
    smooth = 32 * queues.withdrawal_sweep_epochs(FULU, validators=float(validators), withdrawable_share=share)
    draw = 4 / math.sqrt(validators * share) if 1 / 1024 < share < 1 else 0.0  # four standard deviations of the count
    assert float(smooth) == pytest.approx(blocks, rel=draw, abs=1.001)


def test_limits_of_the_sweep(tolerance):
    """A million validators, all with something to withdraw: 62,500 blocks, 8.68 days; with nothing, 61.04 blocks."""
    full = queues.withdrawal_sweep_epochs(FULU, validators=1e6)
    empty = queues.withdrawal_sweep_epochs(FULU, validators=1e6, withdrawable_share=1e-9)
    np.testing.assert_allclose([32 * float(full), 32 * float(empty)], [62_500, 1e6 / 16_384], rtol=10 * tolerance)
    half = queues.withdrawal_sweep_epochs(FULU, validators=1e6, block_rate=0.5)
    np.testing.assert_allclose(float(half), 2 * float(full), rtol=10 * tolerance)
    wait = queues.exit_wait(FULU, queue_eth=0.0, total_stake_eth=3.4e7, validators=1e6)
    np.testing.assert_allclose(float(wait.sweep), 62_500 / 32 / 225 / 2, rtol=10 * tolerance)


def test_sweep_limits_of_all_withdrawal_cases(shared):
    """No block of the vectors pays more than the limit, and one that pays fewer has looked at the full sweep."""
    blocks = 0
    for path in sorted((shared / "vectors").glob("withdrawals_*.npz")):
        _, fork_name, preset, *_ = path.stem.split("_")
        fork = forks.get(fork_name, preset=preset)
        case = np.load(path)
        validators = len(case["in.balances"])
        cursors = np.concatenate(
            [[case["in.next_withdrawal_validator_index"]], case["wd.next_withdrawal_validator_index"]]
        )
        assert np.all(case["wd.count"] <= fork.max_withdrawals_per_payload)
        for count, before, after in zip(case["wd.count"], cursors[:-1], cursors[1:], strict=True):
            if count < fork.max_withdrawals_per_payload:
                looked_at = (int(after) - int(before)) % validators
                assert looked_at == fork.max_validators_per_withdrawals_sweep % validators
            blocks += 1
    assert blocks >= 6 * 10
