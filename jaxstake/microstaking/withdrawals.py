"""Withdrawal requests of a micro-staking network: who is served first under a churn limit, and what splitting gains.

A request's priority grows with its age; an owner's smallness, its score and its urgency add a bonus in epochs:
`g = (now - arrival) + bonus`. Every waiting request ages alike, so the order among them never changes: it is that of
the virtual arrivals `v = arrival - bonus`, and a bonus of 3 epochs is worth an arrival 3 epochs earlier. Zero weights
are first in, first out. `withdrawal_classes` serves a million requests by this order exactly, `withdrawal_scan` a few
with cancellations or softly, and `withdrawal_objective` is smooth in the weights.

Amounts are ETH here, times epochs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from jaxstake.core.checks import confirm, every, in_domains, is_traced, poison, require_domain
from jaxstake.core.domain import FRACTION, NON_NEGATIVE, POSITIVE
from jaxstake.core.numerics import as_float, safe_divide
from jaxstake.core.pytree import leaf, pytree
from jaxstake.core.solve import solve_bracketed
from jaxstake.core.typing import Scalar
from jaxstake.microstaking import liquidity


@pytree
class Requests:
    """Withdrawal requests in the order in which they arrived, N of them.

    `score` is what the network thinks of the owner, `urgency` what the owner says of itself: weighing it invites
    everyone to call it urgent, so that it is best left a statistic.
    """

    amount: Any = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="[N] asked for")
    arrival: Any = leaf(unit="epochs", domain=NON_NEGATIVE, meaning="[N] epoch of the request, never falling")
    owner_total: Any = leaf(unit="ETH", domain=NON_NEGATIVE, meaning="[N] stake of its owner, all requests together")
    score: Any = leaf(domain=FRACTION, meaning="[N] score of its owner")
    urgency: Any = leaf(domain=FRACTION, meaning="[N] as its owner states it")


@pytree
class Priority:
    """What a bonus is made of; each weight is the most epochs that its criterion is worth. A policy, not data."""

    smallness: Scalar = leaf(default=0.0, unit="epochs", domain=NON_NEGATIVE, meaning="bonus of a vanishing owner")
    score: Scalar = leaf(default=0.0, unit="epochs", domain=NON_NEGATIVE, meaning="bonus of a score of 1")
    urgency: Scalar = leaf(default=0.0, unit="epochs", domain=NON_NEGATIVE, meaning="bonus of an urgency of 1")
    half_size: Scalar = leaf(default=32.0, unit="ETH", domain=POSITIVE, meaning="owner's stake of smallness 1/2")


def valid(requests: Requests) -> jax.Array | bool:
    """Check requests: True, or (traced) whether they are all valid.

    Raises:
        ValueError: there are none, the columns differ in shape, or a concrete value is outside its range, an arrival
            is earlier than the one before it, or an owner's total is less than its request.
    """
    shape = jnp.shape(requests.amount)
    for name in ("arrival", "owner_total", "score", "urgency"):
        if jnp.shape(getattr(requests, name)) != shape:
            raise ValueError(f"{name} must have the shape of amount, {shape}, got {jnp.shape(getattr(requests, name))}")
    if len(shape) != 1 or shape[0] == 0:
        raise ValueError(f"amount must be a vector of at least one request, got shape {shape}")
    arrival = jnp.asarray(requests.arrival)
    inside = in_domains({"requests": requests})
    ordered = confirm(
        jnp.all(arrival[1:] >= arrival[:-1]),
        "arrival must never fall, got {step} after its predecessor",
        step=jnp.min(jnp.diff(arrival), initial=0),
    )
    message = "owner_total must be at least the amount {amount}, got {total}"
    whole = confirm(
        requests.owner_total >= requests.amount, message, amount=requests.amount, total=requests.owner_total
    )
    return every(inside, ordered, jnp.all(whole) if is_traced(whole) else True)


def owner_totals(*, amounts: jax.Array, owners: jax.Array, count: int) -> jax.Array:
    """What the owner of each request asks for in all its requests together.

    Equation: `W_i = sum of w_j over j with the owner of i`.

    Args:
        amounts: [N] requests, any unit.
        owners: [N] number of the owner, in [0, count).
        count: number of owners; static.

    Returns:
        [N] in the unit of amounts.

    Raises:
        ValueError: a concrete owner is outside its range.

    Example:
        >>> owner_totals(amounts=jnp.asarray([1.0, 2.0, 4.0]), owners=jnp.asarray([0, 1, 0]), count=2).tolist()
        [5.0, 2.0, 5.0]
    """
    message = f"owners must be in [0, {count}), got {{owner}}"
    ok = confirm((owners >= 0) & (owners < count), message, owner=owners)
    return poison(ok, jax.ops.segment_sum(amounts, owners, num_segments=count)[owners])  # type: ignore[return-value]


def smallness(*, owner_total: Scalar, half_size: Scalar = 32.0) -> Scalar:
    """How small an owner is, from 1 (nothing) to 0 (everything).

    Equation: `h / (h + W)`. A function of the owner's stake and not of the request, so that splitting does not pay.

    Args:
        owner_total: stake of the owner W, ETH, >= 0.
        half_size: stake h at which it is a half, ETH, > 0.

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> print(f"{smallness(owner_total=32.0):.2f} {smallness(owner_total=96.0):.2f}")
        0.50 0.25
    """
    owner_total = as_float(require_domain("owner_total", owner_total, NON_NEGATIVE))
    half_size = require_domain("half_size", half_size, POSITIVE)
    return half_size / (half_size + owner_total)


def bonus(priority: Priority, *, owner_total: Scalar = 0.0, score: Scalar = 0.0, urgency: Scalar = 0.0) -> Scalar:
    """By how many epochs a request counts as older than it is.

    Equation: `a_w h / (h + W) + a_s score + a_u urgency`, from 0 to `largest_bonus`.

    Args:
        priority: the weights.
        owner_total: stake of the owner, ETH, >= 0.
        score: score of the owner, in [0, 1].
        urgency: urgency, in [0, 1].

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> print(f"{bonus(Priority(smallness=450.0, score=100.0), owner_total=32.0, score=0.5):.0f}")
        275
    """
    ok = in_domains({"priority": priority})
    small = smallness(owner_total=owner_total, half_size=priority.half_size)
    score = require_domain("score", score, FRACTION)
    urgency = require_domain("urgency", urgency, FRACTION)
    return poison(ok, priority.smallness * small + priority.score * score + priority.urgency * urgency)


def largest_bonus(priority: Priority) -> Scalar:
    """The bonus that none exceeds, epochs: the sum of the weights."""
    return as_float(poison(in_domains({"priority": priority}), priority.smallness + priority.score + priority.urgency))


def virtual_arrivals(priority: Priority, requests: Requests) -> jax.Array:
    """When each request counts as arrived: it is served before every request of a later virtual arrival.

    Equation: `v_i = t_i - bonus_i`.

    Returns:
        [N] epochs, negative for a request that counts as older than the count of epochs.

    Raises:
        ValueError: the requests or weights are invalid.

    Example:
        >>> two = Requests(amount=jnp.asarray([64.0, 1.0]), arrival=jnp.asarray([10.0, 12.0]), score=jnp.zeros(2),
        ...                owner_total=jnp.asarray([96.0, 32.0]), urgency=jnp.zeros(2))
        >>> virtual_arrivals(Priority(smallness=20.0), two).tolist()
        [5.0, 2.0]
    """
    ok = valid(requests)
    earlier = bonus(priority, owner_total=requests.owner_total, score=requests.score, urgency=requests.urgency)
    return as_float(poison(ok, as_float(requests.arrival) - earlier))


def queue_total(requests: Requests) -> Scalar:
    """What is asked for, `Q_withdraw = sum w_i`, ETH.

    Raises:
        ValueError: the requests are invalid.

    Source: Micro-staking analysis, section 2.3.
    """
    return poison(valid(requests), jnp.sum(as_float(requests.amount)))


def queue_price_impact(pool: Any, requests: Requests, *, deepening: Scalar = 1.0) -> Scalar:
    """How far the price falls if all requests are sold through a pool instead: it depends on their sum alone.

    Args:
        pool: a pool of `pools`.
        requests: the requests; x of the pool is what they hold.
        deepening: as in `liquidity.withdrawal_price_impact`.

    Raises:
        ValueError: the requests are invalid, or the pool is none or too small.
    """
    return liquidity.withdrawal_price_impact(pool, queue=queue_total(requests), deepening=deepening)


def splitting_gain(
    priority: Priority, *, amount: Scalar, parts: Scalar, other_stake: Scalar = 0.0, per_owner: bool = True
) -> Scalar:
    """By how many epochs a request moves forward when its owner asks for it in equal parts.

    Equation: 0 if smallness is the owner's, else (by request) `a_w h (1 / (h + w/k) - 1 / (h + w))`. An owner that
    passes for k owners gains the latter too: only a proof of identity keeps it from that.

    Args:
        priority: the weights.
        amount: the request w, ETH, >= 0.
        parts: number of parts k, >= 1.
        other_stake: what else the owner holds, ETH, >= 0; counts per owner only.
        per_owner: whether smallness is that of the owner (the rule) or that of the request; static.

    Returns:
        Epochs, at least 0.

    Raises:
        ValueError: a concrete value is outside its range.

    Example:
        >>> policy = Priority(smallness=225.0)
        >>> print(f"{splitting_gain(policy, amount=96.0, parts=3.0, per_owner=False):.2f}")
        56.25
        >>> print(f"{splitting_gain(policy, amount=96.0, parts=3.0):.2f}")
        0.00
    """
    amount = as_float(require_domain("amount", amount, NON_NEGATIVE))
    factor = poison(confirm(parts >= 1, "parts must be at least 1, got {parts}", parts=parts), 1.0)
    other_stake = require_domain("other_stake", other_stake, NON_NEGATIVE)
    before = amount + other_stake if per_owner else amount
    after = before if per_owner else amount / parts  # the parts of one owner add up to what they were
    return factor * (bonus(priority, owner_total=after) - bonus(priority, owner_total=before))


def soft_served(*, amounts: jax.Array, priorities: jax.Array, churn: Scalar, temperature: Scalar) -> jax.Array:
    """What each waiting request gets of one epoch's churn when the order is soft.

    Equation: `served_i = w_i sigmoid((g_i - lambda) / temperature)`, with lambda such that they add up to the churn;
    everything, where the churn suffices. It tends to the hard order as the temperature falls. The derivative is that
    of the solved equation.

    Args:
        amounts: [N] what waits, >= 0, any unit.
        priorities: [N] priorities g, epochs.
        churn: limit, the unit of amounts, > 0.
        temperature: epochs of priority within which the order is soft, > 0.

    Returns:
        [N] in the unit of amounts, adding up to the churn or to what waits, whichever is less.

    Raises:
        ValueError: a concrete value is outside its range, or amounts and priorities differ in shape.

    Example:
        >>> served = soft_served(amounts=jnp.asarray([2.0, 2.0]), priorities=jnp.asarray([1.0, 0.0]), churn=2.0,
        ...                      temperature=1.0)
        >>> [f"{x:.3f}" for x in served]
        ['1.245', '0.755']
    """
    if jnp.ndim(amounts) != 1 or jnp.shape(amounts) != jnp.shape(priorities):
        shapes = f"{jnp.shape(amounts)} and {jnp.shape(priorities)}"
        raise ValueError(f"amounts and priorities must be vectors of one length, got shapes {shapes}")
    amounts = as_float(require_domain("amounts", amounts, NON_NEGATIVE))
    churn = as_float(require_domain("churn", churn, POSITIVE))
    temperature = as_float(require_domain("temperature", temperature, POSITIVE))
    total = jnp.sum(amounts)
    scarce = total > churn
    share = jnp.where(scarce, churn / jnp.where(scarce, total, 1.0), 0.5)
    waits = amounts > 0
    centre = jax.lax.stop_gradient(jnp.max(jnp.where(waits, priorities, -jnp.inf), initial=-jnp.inf))
    level = (priorities - jnp.where(jnp.isfinite(centre), centre, 0.0)) / temperature
    lowest = jnp.min(jnp.where(waits, level, jnp.inf), initial=0.0)
    weights = jnp.where(scarce, amounts / jnp.where(scarce, churn, 1.0), 2.0 / amounts.size)  # they add up to 1 / share

    def excess(cut: Any) -> Any:
        return jnp.sum(weights * jax.nn.sigmoid(level - cut)) - 1.0

    odds = jnp.log(share) - jnp.log1p(-share)
    low = jnp.where(scarce, lowest, jnp.min(level)) - odds - 1.0
    high = jnp.where(scarce, 0.0, jnp.max(level)) - jnp.log(share) + 1.0
    cut = solve_bracketed(excess, low=low, high=high).value
    taken = jax.nn.sigmoid(level - cut)
    slope = amounts * taken * (1.0 - taken)
    rest = safe_divide(churn - jnp.sum(amounts * taken), jnp.sum(slope))  # a last step, so that nothing is lost
    return jnp.where(scarce, amounts * taken + slope * rest, amounts)
