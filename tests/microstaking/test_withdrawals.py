"""The withdrawal queue: every form against a heap in plain integers, its laws of conservation, bounds and limits."""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads

from jaxstake.microstaking import pools, withdrawals
from jaxstake.microstaking import withdrawal_classes as classes
from jaxstake.microstaking import withdrawal_statistics as statistics
from jaxstake.microstaking.withdrawal_scan import serve
from jaxstake.microstaking.withdrawals import Priority, Requests
from jaxstake.protocol import forks, queues
from tests.oracles import priority_heap

N, E, B, K = 40, 30, 12, 9
CHURN = 7

class_finish = jax.jit(classes.class_finish, static_argnames=("epochs", "largest_bonus", "classes"))
fifo_finish = jax.jit(classes.fifo_finish, static_argnames=("epochs",))
scan = jax.jit(serve, static_argnames=("epochs",))
soft_served = jax.jit(withdrawals.soft_served)


def requests(count: int = 6, **changed: object) -> Requests:
    columns = {
        "amount": jnp.linspace(1.0, 40.0, count),
        "arrival": 2.0 * jnp.arange(count, dtype=float),
        "owner_total": jnp.linspace(2.0, 120.0, count),
        "score": jnp.linspace(0.9, 0.1, count),
        "urgency": jnp.linspace(0.0, 1.0, count),
    }
    return Requests(**{**columns, **changed})


def drawn(seed: int, *, load: float = 1.0) -> dict[str, np.ndarray]:
    """Random requests in Gwei of few units, so that ties and exact fits are common."""
    random = np.random.default_rng(seed)
    amounts = random.integers(0, max(2, int(2 * load * CHURN * E / N)), N)
    arrivals = np.sort(random.integers(0, E, N))
    early = random.uniform(0, B, N) * random.integers(0, 2, N)
    return {"amounts": amounts, "arrivals": arrivals, "virtual": arrivals - early}


def by_class(case: dict[str, np.ndarray], churn: object = CHURN) -> np.ndarray:
    return np.asarray(
        class_finish(
            amounts_gwei=jnp.asarray(case["amounts"]),
            arrivals=jnp.asarray(case["arrivals"]),
            virtual_arrivals=jnp.asarray(case["virtual"]),
            churn_gwei=jnp.asarray(churn),
            epochs=E,
            largest_bonus=B,
            classes=K,
        )
    )


def class_keys(case: dict[str, np.ndarray]) -> list[int]:
    """The class by definition."""
    width = -(-(E + B) // K)
    return np.floor((case["virtual"] + B) / width).astype(int).tolist()


def heap(case: dict[str, np.ndarray], keys: list, churn: object = CHURN, **more: object) -> priority_heap.Outcome:
    return priority_heap.serve(case["amounts"].tolist(), case["arrivals"].tolist(), keys, churn, **more)  # type: ignore[arg-type]


# --- The oracle itself ----------------------------------------------------------------------------------------------


def test_the_heap_on_a_case_by_hand():
    """Churn 10: 30 asked at 0 waits for 20 of a better key at 0 and for 10 of the best at 1."""
    found = priority_heap.serve([30, 20, 10], [0, 0, 1], [2, 1, 0], 10)
    assert found.finish == [5, 2, 1]
    assert found.waited == [30 * 3 + 20 + 10, 10 + 10, 0]
    cut = priority_heap.serve([30, 20], [0, 0], [0, 1], 10, epochs=3, cancelled_at=[1, 9])
    assert (cut.served, cut.cancelled, cut.waiting) == ([10, 20], [20, 0], [0, 0])


# --- Hard rule ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("load", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("seed", range(12))
def test_class_rule_is_the_heap_by_class(seed, load):
    case = drawn(seed, load=load)
    paid = case["amounts"] > 0
    expected = np.array(heap(case, class_keys(case)).finish)
    np.testing.assert_array_equal(by_class(case)[paid], expected[paid])
    assert (by_class(case) >= case["arrivals"]).all()


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("seed", range(6))
def test_class_rule_under_a_changing_churn(seed):
    case = drawn(seed, load=2.0)
    churn = np.random.default_rng(seed).integers(1, 3 * CHURN, E)
    paid = case["amounts"] > 0
    expected = np.array(heap(case, class_keys(case), churn.tolist()).finish)
    np.testing.assert_array_equal(by_class(case, churn)[paid], expected[paid])


@pytest.mark.usefixtures("only_x64")
@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, E - 1), st.floats(0, B)), min_size=N, max_size=N))
def test_class_rule_on_any_requests(rows):
    rows = sorted(rows, key=lambda row: row[1])
    amounts, arrivals, early = (np.array(column) for column in zip(*rows, strict=True))
    case = {"amounts": amounts, "arrivals": arrivals, "virtual": arrivals - early}
    width = -(-(E + B) // K)
    keys = np.clip(np.floor((arrivals - early + B) / width), arrivals // width, (arrivals + B) // width).tolist()
    paid = amounts > 0
    np.testing.assert_array_equal(by_class(case)[paid], np.array(heap(case, keys).finish)[paid])


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("seed", range(8))
def test_the_error_of_the_class_width(seed):
    """Finished between an imaginary request at the lower edge of its class and one at the upper edge."""
    case, width = drawn(seed, load=1.5), classes.class_width(epochs=E, largest_bonus=B, classes=K)
    keys, found = class_keys(case), by_class(case)
    for i in np.flatnonzero(case["amounts"] > 0):
        for edge, bound in ((keys[i] * width - B - 1e-9, np.less_equal), ((keys[i] + 1) * width - B, np.greater_equal)):
            virtual = case["virtual"].copy()
            virtual[i] = edge
            assert bound(heap(case, virtual.tolist()).finish[i], found[i])


@pytest.mark.usefixtures("only_x64")
def test_narrow_classes_are_the_exact_order():
    """Whole bonuses and classes of one epoch: the order of virtual arrivals itself."""
    case = drawn(3, load=1.5)
    case["virtual"] = case["arrivals"] - np.round(case["arrivals"] - case["virtual"])
    found = class_finish(
        amounts_gwei=jnp.asarray(case["amounts"]),
        arrivals=jnp.asarray(case["arrivals"]),
        virtual_arrivals=jnp.asarray(case["virtual"]),
        churn_gwei=CHURN,
        epochs=E,
        largest_bonus=B,
        classes=E + B,
    )
    paid = case["amounts"] > 0
    expected = np.array(heap(case, case["virtual"].tolist()).finish)
    np.testing.assert_array_equal(np.asarray(found)[paid], expected[paid])
    assert classes.class_width(epochs=E, largest_bonus=B, classes=E + B) == 1


@pytest.mark.usefixtures("only_x64")
def test_zero_weights_are_first_in_first_out():
    case = drawn(5, load=1.5)
    case["virtual"] = case["arrivals"].astype(float)
    ordinary = fifo_finish(
        amounts=jnp.asarray(case["amounts"]), arrivals=jnp.asarray(case["arrivals"]), churn=CHURN, epochs=E
    )
    paid = case["amounts"] > 0
    np.testing.assert_array_equal(by_class(case)[paid], ordinary[paid])
    expected = heap(case, case["arrivals"].tolist()).finish
    np.testing.assert_array_equal(np.asarray(ordinary)[paid], np.array(expected)[paid])


def test_fifo_by_hand():
    """Churn 10: 25 at epoch 0 ends in 2, 5 in 2 too, 1 in 3; 40 at epoch 8, after idle epochs, ends in 11."""
    found = fifo_finish(
        amounts=jnp.asarray([25.0, 5.0, 1.0, 40.0]), arrivals=jnp.asarray([0, 0, 1, 8]), churn=10.0, epochs=9
    )
    assert found.tolist() == [2, 2, 3, 11]


@pytest.mark.usefixtures("only_x64")
def test_fifo_is_the_protocols_exit_queue():
    """`compute_exit_epoch_and_update_churn`, but for its lookahead, for requests of one epoch."""
    fork = forks.get("fulu")
    amounts = jnp.asarray([32, 2048, 32, 1024, 640, 5, 300]) * 10**9
    theirs = queues.exit_epochs(fork, amounts_gwei=amounts, total_stake_gwei=34e15, current_epoch=100.0)
    churn = int(queues.exit_churn_limit(fork, total_stake_eth=34e6)) * 10**9
    ours = fifo_finish(amounts=amounts, arrivals=jnp.full(7, 100), churn=churn, epochs=101)
    np.testing.assert_array_equal(ours + int(queues.lookahead_epochs(fork)), theirs)
    assert ours[-1] > 100


@pytest.mark.usefixtures("only_x64")
def test_modes_of_execution_agree():
    """Eager, compiled and mapped over virtual arrivals, to the bit."""
    cases = [drawn(seed, load=1.5) for seed in (1, 1)]
    cases[1] = {**cases[0], "virtual": cases[0]["arrivals"] - 0.5 * (cases[0]["arrivals"] - cases[0]["virtual"])}
    given_ = {
        "amounts_gwei": jnp.asarray(cases[0]["amounts"]),
        "arrivals": jnp.asarray(cases[0]["arrivals"]),
        "churn_gwei": CHURN,
    }
    sizes = {"epochs": E, "largest_bonus": B, "classes": K}
    virtual = jnp.asarray([case["virtual"] for case in cases])
    many = jax.jit(jax.vmap(lambda v: classes.class_finish(virtual_arrivals=v, **given_, **sizes)))(virtual)
    np.testing.assert_array_equal(many[0], classes.class_finish(virtual_arrivals=virtual[0], **given_, **sizes))
    for row, case in zip(many, cases, strict=True):
        np.testing.assert_array_equal(row, by_class(case))


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("seed", range(10))
def test_the_bound_on_the_largest_wait(seed):
    """Priority adds at most the spread of the bonuses, in the exact order, and the class width with classes."""
    case = drawn(seed, load=2.0)
    paid = case["amounts"] > 0
    fifo = (np.array(heap(case, case["arrivals"].tolist()).finish) - case["arrivals"])[paid]
    early = (case["arrivals"] - case["virtual"])[paid]
    for found, width in (
        (np.array(heap(case, case["virtual"].tolist()).finish), 0.0),
        (by_class(case), float(classes.class_width(epochs=E, largest_bonus=B, classes=K))),
    ):
        bound = statistics.largest_wait_bound(
            fifo_largest=float(fifo.max()), bonus_spread=float(np.ptp(early)), class_width=width
        )
        assert ((found - case["arrivals"])[paid] <= float(bound)).all()


def test_the_bound_is_nearly_reached():
    """Churn 1: a request of 2 at epoch 0, then one of 1 every epoch with a bonus of 10, each served before the rest."""
    arrivals = list(range(11))
    virtual = [0, *(epoch - 10 for epoch in arrivals[1:])]
    fifo, found = (priority_heap.serve([2, *[1] * 10], arrivals, keys, 1).finish for keys in (arrivals, virtual))
    largest = max(end - start for end, start in zip(fifo, arrivals, strict=True))
    assert (largest, found[0]) == (1, 10)
    assert float(statistics.largest_wait_bound(fifo_largest=1.0, bonus_spread=10.0)) == 11.0
    assert float(statistics.largest_wait_bound(fifo_largest=1.0, bonus_spread=10.0, class_width=3.0)) == 14.0


# --- Epoch by epoch: conservation, cancellations, softness ----------------------------------------------------------


@pytest.mark.usefixtures("only_x64")
@pytest.mark.parametrize("seed", range(8))
def test_scan_is_the_heap_with_cancellations(seed):
    case, random = drawn(seed, load=1.5), np.random.default_rng(seed)
    leaving = random.integers(0, 2 * E, N)
    churn = random.integers(1, 2 * CHURN, E)
    found = scan(
        amounts=jnp.asarray(case["amounts"]),
        arrivals=jnp.asarray(case["arrivals"]),
        virtual_arrivals=jnp.asarray(case["virtual"]),
        churn=jnp.asarray(churn),
        epochs=E,
        cancelled_at=jnp.asarray(leaving),
    )
    expected = heap(case, case["virtual"].tolist(), churn.tolist(), epochs=E, cancelled_at=leaving.tolist())
    for name in ("served", "waiting", "cancelled", "waited"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    whole = (case["amounts"] > 0) & (np.array(expected.cancelled) == 0)
    np.testing.assert_array_equal(np.asarray(found.finish)[whole], np.array(expected.finish)[whole])
    assert (found.served + found.waiting + found.cancelled == case["amounts"]).all()
    assert int(jnp.sum(found.flow)) == int(jnp.sum(found.served))


@pytest.mark.usefixtures("only_x64")
def test_nothing_is_lost_in_amounts_that_floats_cannot_hold():
    amounts = jnp.asarray([2**53 + 1, 3, 2**55 + 7])
    found = scan(
        amounts=amounts,
        arrivals=jnp.asarray([0, 0, 1]),
        virtual_arrivals=jnp.asarray([0.0, -1.0, 1.0]),
        churn=2**53 + 1,
        epochs=4,
    )
    assert (found.served + found.waiting == amounts).all()
    assert found.served.tolist() == [2**53 + 1, 3, 4 * (2**53 + 1) - (2**53 + 1) - 3]


@pytest.mark.parametrize("temperature", [0.3, 5.0])
def test_soft_queue_loses_nothing(temperature, x64):
    random = np.random.default_rng(2)
    amounts = jnp.asarray(random.lognormal(1.0, 1.0, N), float)
    arrivals = jnp.asarray(np.sort(random.integers(0, E, N)))
    found = scan(
        amounts=amounts,
        arrivals=arrivals,
        virtual_arrivals=arrivals.astype(float) - jnp.asarray(random.uniform(0, B, N), float),
        churn=0.7 * float(amounts.sum()) / E,
        epochs=E,
        cancelled_at=jnp.asarray(random.integers(0, 3 * E, N)),
        temperature=temperature,
    )
    total = found.served + found.waiting + found.cancelled
    np.testing.assert_allclose(total, amounts, rtol=1e-12 if x64 else 1e-5)
    assert float(jnp.max(found.flow)) <= 0.7 * float(amounts.sum()) / E * (1 + (1e-12 if x64 else 1e-5))
    assert float(jnp.sum(found.cancelled)) > 0


@pytest.mark.usefixtures("only_x64")
def test_soft_rule_tends_to_the_hard_one():
    amounts, levels = jnp.asarray([4.0, 3.0, 2.0, 5.0]), jnp.asarray([1.0, 4.0, 2.0, 3.0])
    hard = jnp.asarray([0.0, 3.0, 0.0, 4.0])
    far = [
        float(jnp.max(jnp.abs(soft_served(
            amounts=amounts, priorities=levels, churn=7.0, temperature=temperature) - hard)))
        for temperature in (1.0, 0.3, 0.1, 0.03)
    ]  # fmt: skip
    assert all(after < before for before, after in itertools.pairwise(far))
    assert far[-1] < 1e-6


def test_soft_rule_serves_all_that_the_churn_allows(tolerance):
    amounts, levels = jnp.asarray([4.0, 0.0, 2.0]), jnp.asarray([1.0, 9.0, 2.0])
    served = functools.partial(soft_served, amounts=amounts, priorities=levels, temperature=0.5)
    np.testing.assert_allclose(served(churn=6.0), amounts, rtol=tolerance)
    np.testing.assert_allclose(served(churn=100.0), amounts, rtol=tolerance)
    assert float(jnp.sum(served(churn=3.0))) == pytest.approx(3.0, rel=tolerance)
    assert float(served(churn=3.0)[1]) == 0.0
    shifted = soft_served(amounts=amounts, priorities=levels + 50.0, churn=3.0, temperature=0.5)
    np.testing.assert_allclose(shifted, served(churn=3.0), rtol=100 * tolerance)
    assert np.isfinite(jax.grad(lambda c: jnp.sum(served(churn=c) ** 2))(6.0))


@pytest.mark.usefixtures("only_x64")
def test_soft_rule_by_an_independent_root():
    from scipy.optimize import brentq
    from scipy.special import expit

    amounts, levels = np.array([4.0, 3.0, 2.0, 5.0]), np.array([1.0, 4.0, 2.0, 3.0])
    cut = brentq(lambda x: np.sum(amounts * expit((levels - x) / 0.7)) - 6.0, -50, 50, xtol=1e-14)
    found = soft_served(amounts=jnp.asarray(amounts), priorities=jnp.asarray(levels), churn=6.0, temperature=0.7)
    np.testing.assert_allclose(found, amounts * expit((levels - cut) / 0.7), rtol=1e-11)

    def weighed(a, g, c, t):
        served = withdrawals.soft_served(amounts=a, priorities=g, churn=c, temperature=t)
        return jnp.sum(served * jnp.arange(1.0, 5.0))

    check_grads(weighed, (jnp.asarray(amounts), jnp.asarray(levels), 6.0, 0.7), order=1, modes=("rev",), rtol=1e-6)
    mapped = jax.jit(jax.vmap(weighed, in_axes=(None, None, 0, None)))(
        jnp.asarray(amounts), jnp.asarray(levels), jnp.asarray([6.0, 3.0]), 0.7
    )
    each = [float(weighed(jnp.asarray(amounts), jnp.asarray(levels), c, 0.7)) for c in (6.0, 3.0)]
    np.testing.assert_allclose(mapped, each, rtol=1e-12)


@pytest.mark.parametrize("temperature", [None, 1.0])
def test_ether_waits_the_same_in_every_order(temperature, tolerance):
    """The mean wait of an ether, the served flow and so its price impact do not depend on the order; that of a request
    does."""
    random = np.random.default_rng(4)
    amounts = jnp.asarray(random.lognormal(1.0, 1.0, N), float)
    arrivals = jnp.asarray(np.sort(random.integers(0, E // 2, N)))
    by_order = [
        scan(
            amounts=amounts,
            arrivals=arrivals,
            virtual_arrivals=arrivals.astype(float) - jnp.asarray(early, float),
            churn=2.0 * float(amounts.sum()) / E,
            epochs=E,
            temperature=temperature,
        )
        for early in (np.zeros(N), random.uniform(0, B, N), 1e2 / np.asarray(amounts))
    ]
    assert max(float(jnp.sum(one.waiting)) for one in by_order) < 1e-3
    for one in by_order[1:]:
        rounding = 100 * tolerance
        assert float(jnp.sum(one.waited)) == pytest.approx(float(jnp.sum(by_order[0].waited)), rel=rounding)
        np.testing.assert_allclose(one.flow, by_order[0].flow, rtol=rounding, atol=1e-4)
    per_request = [float(jnp.mean(one.waited / amounts)) for one in by_order]
    assert per_request[2] < 0.9 * per_request[0]
    pool = pools.ConstantProduct(reserve_x=1e4, reserve_y=1e4)
    impacts = [withdrawals.liquidity.withdrawal_price_impact(pool, queue=jnp.sum(one.served)) for one in by_order]
    np.testing.assert_allclose(impacts, impacts[0], rtol=1e-4)


def test_traced_values_out_of_range_are_marked(x64):
    arguments = {"arrivals": jnp.asarray([0, 1]), "epochs": 3}
    virtual = jnp.asarray([0.0, 1.0])
    broken = scan(amounts=jnp.asarray([1.0, -1.0]), virtual_arrivals=virtual, churn=1.0, **arguments)
    assert jnp.isnan(broken.served).all()
    assert (broken.finish == -1).all()
    assert fifo_finish(amounts=jnp.asarray([1.0, 2.0]), churn=0.0, **arguments).tolist() == [-1, -1]
    if x64:
        bad = class_finish(
            amounts_gwei=jnp.asarray([1, 2]), virtual_arrivals=virtual - 5.0, churn_gwei=1, largest_bonus=2, **arguments
        )
        assert bad.tolist() == [-1, -1]


def test_exact_classes_refuse_single_precision(x64):
    amounts = jnp.asarray([1, 2], jnp.int32)
    with pytest.raises(ValueError, match="amounts_gwei must be int64 under jax_enable_x64, got int32"):
        classes.class_finish(
            amounts_gwei=amounts, arrivals=jnp.asarray([0, 1]), virtual_arrivals=jnp.asarray([0, 1]), churn_gwei=1,
            epochs=2, largest_bonus=0,
        )  # fmt: skip
    assert amounts.dtype == jnp.int32


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"amounts": [1.0, -2.0]}, "amounts must be at least 0, got -2.0"),
        ({"churn": 0.0}, "churn must be greater than 0, got 0.0"),
        ({"arrivals": [3, 1]}, "arrivals must never fall, got 1 later"),
        ({"arrivals": [-1, 1]}, r"arrivals must be in \[0, 4\), got -1"),
        ({"arrivals": [0, 4]}, r"arrivals must be in \[0, 4\), got 4"),
        ({"amounts": [], "arrivals": []}, "at least one request"),
        ({"arrivals": [0]}, "vectors of one length"),
        ({"churn": [1.0, 1.0]}, r"churn must be a number or \[4\], one per epoch, got shape \(2,\)"),
    ],
)
def test_bad_queues_are_refused(changed, message):
    given_ = {"amounts": [1.0, 2.0], "arrivals": [0, 1], "churn": 1.0, **changed}
    given_ = {name: jnp.asarray(value) for name, value in given_.items()}
    given_["arrivals"] = given_["arrivals"].astype(int)
    with pytest.raises(ValueError, match=message):
        classes.fifo_finish(**given_, epochs=4)
    if "later" not in message and "got 4" not in message:
        wanted = message.replace("in \\[0, 4\\)", "at least 0").replace(", at least one request", "")
        wanted = "vectors of one length" if "request" in message else wanted
        with pytest.raises(ValueError, match=wanted):
            serve(**given_, virtual_arrivals=given_["arrivals"].astype(float), epochs=4)


# --- Priority -------------------------------------------------------------------------------------------------------


def test_bonus_by_hand_and_its_limits(tolerance):
    policy = Priority(smallness=100.0, score=50.0, urgency=10.0, half_size=8.0)
    found = withdrawals.bonus(policy, owner_total=24.0, score=0.5, urgency=0.2)
    assert float(found) == pytest.approx(100 * 8 / 32 + 25 + 2, rel=tolerance)
    assert float(withdrawals.bonus(policy)) == 100.0
    assert float(withdrawals.bonus(policy, owner_total=1e30)) < 1e-20
    most = withdrawals.bonus(policy, score=1.0, urgency=1.0)
    assert float(most) == float(withdrawals.largest_bonus(policy)) == 160.0
    assert float(withdrawals.largest_bonus(Priority())) == 0.0


def test_virtual_arrivals_modes_and_gradient(tolerance):
    several = requests()
    policy = Priority(smallness=20.0, score=3.0)
    by_hand = several.arrival - 20.0 * 32.0 / (32.0 + several.owner_total) - 3.0 * several.score
    for function in (withdrawals.virtual_arrivals, jax.jit(withdrawals.virtual_arrivals)):
        np.testing.assert_allclose(function(policy, several), by_hand, rtol=10 * tolerance, atol=1e-5)
    mapped = jax.vmap(lambda a: withdrawals.virtual_arrivals(Priority(smallness=a, score=3.0), several))
    np.testing.assert_allclose(mapped(jnp.asarray([20.0]))[0], by_hand, rtol=10 * tolerance, atol=1e-5)
    slope = jax.grad(lambda a: jnp.sum(withdrawals.virtual_arrivals(Priority(smallness=a), several)))(20.0)
    assert float(slope) == pytest.approx(-float(jnp.sum(32.0 / (32.0 + several.owner_total))), rel=10 * tolerance)
    assert (withdrawals.virtual_arrivals(Priority(), several) == several.arrival).all()


@pytest.mark.parametrize("parts", [1.0, 2.0, 10.0])
def test_splitting_gains_nothing_per_owner(parts, tolerance):
    policy = Priority(smallness=225.0, score=50.0)
    assert float(withdrawals.splitting_gain(policy, amount=96.0, parts=parts, other_stake=7.0)) == 0.0
    per_request = withdrawals.splitting_gain(policy, amount=96.0, parts=parts, per_owner=False)
    assert float(per_request) == pytest.approx(225 * (32 / (32 + 96 / parts) - 0.25), rel=10 * tolerance, abs=1e-9)
    count = int(parts)
    split = jnp.full(count, 96.0 / parts)
    totals = withdrawals.owner_totals(amounts=split, owners=jnp.zeros(count, int), count=1)
    np.testing.assert_allclose(
        withdrawals.smallness(owner_total=totals), float(withdrawals.smallness(owner_total=96.0)), rtol=10 * tolerance
    )


def test_queue_total_and_price_impact(tolerance):
    several, pool = requests(), pools.ConstantProduct(reserve_x=1e4, reserve_y=1e4)
    total = float(np.linspace(1.0, 40.0, 6).sum())
    assert float(withdrawals.queue_total(several)) == pytest.approx(total, rel=tolerance)
    impact = withdrawals.queue_price_impact(pool, several)
    assert float(impact) == pytest.approx(1 - (1e4 / (1e4 + total)) ** 2, rel=100 * tolerance)
    reverse = requests(amount=several.amount[::-1], owner_total=jnp.full(6, 200.0))
    assert float(withdrawals.queue_price_impact(pool, reverse)) == pytest.approx(float(impact), rel=100 * tolerance)
    shallow = pools.Concentrated(liquidity=10.0, price=1.0, low=0.9, high=1.1)
    with pytest.raises(ValueError, match="amount_in must be"):
        withdrawals.queue_price_impact(shallow, requests(owner_total=jnp.full(6, 200.0)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"amount": jnp.asarray([1.0, -1.0])}, "amount must be at least 0 and finite, got -1.0"),
        ({"arrival": jnp.asarray([5.0, 3.0])}, "arrival must never fall, got -2.0 after"),
        ({"arrival": jnp.asarray([-1.0, 3.0])}, "arrival must be at least 0 and finite, got -1.0"),
        ({"owner_total": jnp.asarray([2.0, 1.0])}, "owner_total must be at least the amount 40.0, got 1.0"),
        ({"score": jnp.asarray([0.2, 1.5])}, r"score must be in \[0, 1\], got 1.5"),
        ({"score": jnp.asarray([0.2])}, r"score must have the shape of amount, \(2,\), got \(1,\)"),
    ],
)
def test_bad_requests_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        withdrawals.virtual_arrivals(Priority(), requests(2, **changed))
    if "shape" not in message:
        traced = jax.jit(withdrawals.virtual_arrivals)(Priority(), requests(2, **changed))
        assert jnp.isnan(traced).any()


def test_bad_weights_are_refused():
    for name in ("smallness", "score", "urgency"):
        with pytest.raises(ValueError, match=f"priority.{name} must be at least 0 and finite, got -1.0"):
            withdrawals.virtual_arrivals(Priority(**{name: -1.0}), requests())
    none = jnp.zeros(0)
    empty = Requests(amount=none, arrival=none, owner_total=none, score=none, urgency=none)
    with pytest.raises(ValueError, match="at least one request"):
        withdrawals.queue_total(empty)
    with pytest.raises(ValueError, match=r"owners must be in \[0, 2\), got 2"):
        withdrawals.owner_totals(amounts=jnp.ones(2), owners=jnp.asarray([0, 2]), count=2)


# --- Statistics -----------------------------------------------------------------------------------------------------


def test_statistics_against_numpy(tolerance):
    random = np.random.default_rng(6)
    waits, amounts, scores, urgencies = random.uniform(0, 50, (4, 333))
    found = statistics.wait_statistics(
        **{
            name: jnp.asarray(value, float)
            for name, value in (
                ("waits", waits), ("amounts", amounts), ("scores", scores), ("urgencies", urgencies),
            )
        }
    )  # fmt: skip
    expected = {
        "mean": waits.mean(),
        "by_amount": np.average(waits, weights=amounts),
        "by_score": np.average(waits, weights=scores),
        "by_urgency": np.average(waits, weights=urgencies),
        "p99": np.percentile(waits, 99),
        "largest": waits.max(),
        "jain": waits.sum() ** 2 / (333 * (waits**2).sum()),
    }
    for name, value in expected.items():
        assert float(getattr(found, name)) == pytest.approx(value, rel=100 * tolerance), name


def test_statistics_at_the_edges():
    same = dict.fromkeys(("amounts", "scores", "urgencies"), jnp.ones(4))
    nobody = statistics.wait_statistics(waits=jnp.zeros(4), **same)
    assert (float(nobody.jain), float(nobody.mean), float(nobody.p99)) == (1.0, 0.0, 0.0)
    one = statistics.wait_statistics(waits=jnp.asarray([0.0, 0.0, 0.0, 8.0]), **same)
    assert float(one.jain) == 0.25
    with pytest.raises(ValueError, match=r"waits must be at least 0 and finite, got -1\.0"):
        statistics.wait_statistics(waits=-jnp.ones(4), **same)
    with pytest.raises(ValueError, match="vectors of one length"):
        statistics.wait_statistics(waits=jnp.ones(3), **same)
    nothing = statistics.order_objective(mean=0.0, p99=0.0, fifo_mean=0.0, fifo_p99=0.0, tail_weight=0.25)
    assert float(nothing) == 1.25
