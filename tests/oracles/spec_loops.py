"""The specification's sequential rules as loops over one validator or request at a time, in plain Python integers.

Written from ethereum/consensus-specs without looking at the package, whose closed forms they check. A state is a dict
of lists (validators, queue columns) and integers under the names of `jaxstake.beacon.arrays`; functions change it.
`c` holds the constants under the specification's names.
"""

from __future__ import annotations

from math import isqrt
from typing import Any

NEVER = 2**64 - 1
ETH = 10**9
BUILDER = 2**40
Chain = dict[str, Any]
Constants = dict[str, int]


def epoch_of(s: Chain, c: Constants) -> int:
    return s["slot"] // c["SLOTS_PER_EPOCH"]


def electra(c: Constants) -> bool:
    return "MIN_ACTIVATION_BALANCE" in c


def gloas(c: Constants) -> bool:
    return "CHURN_LIMIT_QUOTIENT_GLOAS" in c


def is_active(s: Chain, i: int, epoch: int) -> bool:
    return s["activation_epoch"][i] <= epoch < s["exit_epoch"][i]


def total_active(s: Chain, c: Constants) -> int:
    epoch = epoch_of(s, c)
    members = (i for i in range(len(s["balances"])) if is_active(s, i, epoch))
    return max(ETH, sum(s["effective_balance"][i] for i in members))


def decrease(s: Chain, i: int, amount: int) -> None:
    s["balances"][i] = max(s["balances"][i] - amount, 0)


def count_churn(s: Chain, c: Constants) -> int:
    active = sum(is_active(s, i, epoch_of(s, c)) for i in range(len(s["balances"])))
    return max(c["MIN_PER_EPOCH_CHURN_LIMIT"], active // c["CHURN_LIMIT_QUOTIENT"])


def balance_churn(s: Chain, c: Constants, *, entering: bool) -> int:
    quotient = c["CHURN_LIMIT_QUOTIENT_GLOAS" if gloas(c) else "CHURN_LIMIT_QUOTIENT"]
    churn = max(c["MIN_PER_EPOCH_CHURN_LIMIT_ELECTRA"], total_active(s, c) // quotient)
    churn -= churn % ETH
    if gloas(c):
        return min(churn, c["MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT_GLOAS"]) if entering else churn
    return min(churn, c["MAX_PER_EPOCH_ACTIVATION_EXIT_CHURN_LIMIT"])


def exit_validator(s: Chain, c: Constants, i: int) -> None:
    if s["exit_epoch"][i] != NEVER:
        return
    soonest = epoch_of(s, c) + 1 + c["MAX_SEED_LOOKAHEAD"]
    if electra(c):
        churn, need = balance_churn(s, c, entering=False), s["effective_balance"][i]
        if s["earliest_exit_epoch"] < soonest:
            s["earliest_exit_epoch"], s["exit_balance_to_consume"] = soonest, churn
        while need > s["exit_balance_to_consume"]:
            s["earliest_exit_epoch"] += 1
            s["exit_balance_to_consume"] += churn
        s["exit_balance_to_consume"] -= need
        queue = s["earliest_exit_epoch"]
    else:
        queue = max([epoch for epoch in s["exit_epoch"] if epoch != NEVER] + [soonest])
        if s["exit_epoch"].count(queue) >= count_churn(s, c):
            queue += 1
    s["exit_epoch"][i] = queue
    s["withdrawable_epoch"][i] = queue + c["MIN_VALIDATOR_WITHDRAWABILITY_DELAY"]


def registry_updates(s: Chain, c: Constants) -> None:
    now = epoch_of(s, c)
    soonest = now + 1 + c["MAX_SEED_LOOKAHEAD"]
    for i in range(len(s["balances"])):
        effective, waiting = s["effective_balance"][i], s["activation_eligibility_epoch"][i] == NEVER
        full = effective >= c["MIN_ACTIVATION_BALANCE"] if electra(c) else effective == c["MAX_EFFECTIVE_BALANCE"]
        ejected = is_active(s, i, now) and effective <= c["EJECTION_BALANCE"]
        ready = s["activation_eligibility_epoch"][i] <= s["finalized_epoch"] and s["activation_epoch"][i] == NEVER
        if waiting and full:
            s["activation_eligibility_epoch"][i] = now + 1
        if electra(c) and waiting and full:
            continue
        if ejected:
            exit_validator(s, c, i)
        elif electra(c) and ready:
            s["activation_epoch"][i] = soonest
    if electra(c):
        return
    limit = count_churn(s, c)
    if "MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT" in c:
        limit = min(limit, c["MAX_PER_EPOCH_ACTIVATION_CHURN_LIMIT"])
    queue = [
        (s["activation_eligibility_epoch"][i], i)
        for i in range(len(s["balances"]))
        if s["activation_eligibility_epoch"][i] <= s["finalized_epoch"] and s["activation_epoch"][i] == NEVER
    ]
    for _, i in sorted(queue)[:limit]:
        s["activation_epoch"][i] = soonest


def most_effective(prefix: int, c: Constants) -> int:
    if not electra(c):
        return c["MAX_EFFECTIVE_BALANCE"]
    return c["MAX_EFFECTIVE_BALANCE_ELECTRA"] if prefix == 2 else c["MIN_ACTIVATION_BALANCE"]


def pop_columns(s: Chain, queue: str) -> list[dict[str, int]]:
    """The entries of a queue, which is left empty."""
    names = [name for name in s if name.startswith(f"{queue}_")]
    entries = [dict(zip(names, row, strict=True)) for row in zip(*(s[name] for name in names), strict=True)]
    for name in names:
        s[name] = []
    return [{name.removeprefix(f"{queue}_"): value for name, value in entry.items()} for entry in entries]


def push(s: Chain, queue: str, entries: list[dict[str, int]]) -> None:
    for entry in entries:
        for name, value in entry.items():
            s[f"{queue}_{name}"].append(value)


def register(s: Chain, c: Constants, deposit: dict[str, int]) -> None:
    new = {
        "balances": deposit["amount"],
        "effective_balance": min(
            deposit["amount"] - deposit["amount"] % ETH, most_effective(deposit["cred_prefix"], c)
        ),
        "cred_prefix": deposit["cred_prefix"],
        "pubkey_id": deposit["pubkey_id"],
        "slashed": 0,
        "inactivity_scores": 0,
        "previous_epoch_participation": 0,
        "current_epoch_participation": 0,
    }
    new |= dict.fromkeys(
        ("activation_eligibility_epoch", "activation_epoch", "exit_epoch", "withdrawable_epoch"), NEVER
    )
    for name, value in new.items():
        s[name].append(value)


def pending_deposits(s: Chain, c: Constants) -> None:
    available = s["deposit_balance_to_consume"] + balance_churn(s, c, entering=True)
    queue, later, spent, done, limited = pop_columns(s, "pending_deposits"), [], 0, 0, False
    bridge = electra(c) and c["waits_for_bridge"] and s["eth1_deposit_index"] < s["deposit_requests_start_index"]
    for deposit in queue:
        if (bridge and deposit["slot"] > 0) or deposit["slot"] > s["finalized_epoch"] * c["SLOTS_PER_EPOCH"]:
            break
        if done == c["MAX_PENDING_DEPOSITS_PER_EPOCH"]:
            break
        known = deposit["pubkey_id"] in s["pubkey_id"]
        i = s["pubkey_id"].index(deposit["pubkey_id"]) if known else -1
        if known and s["withdrawable_epoch"][i] < epoch_of(s, c) + 1:
            s["balances"][i] += deposit["amount"]
        elif known and s["exit_epoch"][i] < NEVER:
            later.append(deposit)
        else:
            limited = spent + deposit["amount"] > available
            if limited:
                break
            spent += deposit["amount"]
            if known:
                s["balances"][i] += deposit["amount"]
            else:
                register(s, c, deposit)
        done += 1
    push(s, "pending_deposits", queue[done:] + later)
    s["deposit_balance_to_consume"] = available - spent if limited else 0


def pending_consolidations(s: Chain, c: Constants) -> None:
    queue = pop_columns(s, "pending_consolidations")
    while queue:
        source, target = queue[0]["source"], queue[0]["target"]
        if not s["slashed"][source]:
            if s["withdrawable_epoch"][source] > epoch_of(s, c) + 1:
                break
            amount = min(s["balances"][source], s["effective_balance"][source])
            s["balances"][source] -= amount
            s["balances"][target] += amount
        queue.pop(0)
    push(s, "pending_consolidations", queue)


def expected_withdrawals(s: Chain, c: Constants) -> list[tuple[int, int]]:
    """Pairs of (index, amount); takes the processed entries off the queues and moves the builders' sweep on."""
    paid: list[tuple[int, int]] = []
    most, now = c["MAX_WITHDRAWALS_PER_PAYLOAD"], epoch_of(s, c)
    if gloas(c):
        queue = pop_columns(s, "builder_pending_withdrawals")
        while queue and len(paid) < most - 1:
            entry = queue.pop(0)
            paid.append((entry["builder_index"] | BUILDER, entry["amount"]))
        push(s, "builder_pending_withdrawals", queue)
    if electra(c):
        queue = pop_columns(s, "pending_partial_withdrawals")
        limit = min(len(paid) + c["MAX_PENDING_PARTIALS_PER_WITHDRAWALS_SWEEP"], most - 1)
        while queue and queue[0]["withdrawable_epoch"] <= now and len(paid) < limit:
            entry = queue.pop(0)
            i, keep = entry["validator_index"], c["MIN_ACTIVATION_BALANCE"]
            balance = s["balances"][i] - sum(amount for index, amount in paid if index == i)
            if s["exit_epoch"][i] == NEVER and s["effective_balance"][i] >= keep and balance > keep:
                paid.append((i, min(balance - keep, entry["amount"])))
        push(s, "pending_partial_withdrawals", queue)
    if gloas(c):
        n, looked, start = len(s["builders_balance"]), 0, s["next_withdrawal_builder_index"]
        while looked < min(n, c["MAX_BUILDERS_PER_WITHDRAWALS_SWEEP"]) and len(paid) < most - 1:
            i = (start + looked) % n
            if s["builders_withdrawable_epoch"][i] <= now and s["builders_balance"][i] > 0:
                paid.append((i | BUILDER, s["builders_balance"][i]))
            looked += 1
        if n:
            s["next_withdrawal_builder_index"] = (start + looked) % n
    n, looked, start = len(s["balances"]), 0, s["next_withdrawal_validator_index"]
    while looked < min(n, c["MAX_VALIDATORS_PER_WITHDRAWALS_SWEEP"]) and len(paid) < most:
        i = (start + looked) % n
        balance = s["balances"][i] - sum(amount for index, amount in paid if index == i)
        prefix = s["cred_prefix"][i]
        ceiling = most_effective(prefix, c)
        if prefix == 1 or (electra(c) and prefix == 2):
            if s["withdrawable_epoch"][i] <= now and balance > 0:
                paid.append((i, balance))
            elif s["effective_balance"][i] == ceiling and balance > ceiling:
                paid.append((i, balance - ceiling))
        looked += 1
    return paid


def withdrawals(s: Chain, c: Constants) -> list[tuple[int, int]]:
    paid = expected_withdrawals(s, c)
    for index, amount in paid:
        if index & BUILDER:
            i = index - BUILDER
            s["builders_balance"][i] = max(s["builders_balance"][i] - amount, 0)
        else:
            decrease(s, index, amount)
    s["next_withdrawal_index"] += len(paid)
    if len(paid) == c["MAX_WITHDRAWALS_PER_PAYLOAD"]:
        s["next_withdrawal_validator_index"] = paid[-1][0] + 1
    else:
        s["next_withdrawal_validator_index"] += c["MAX_VALIDATORS_PER_WITHDRAWALS_SWEEP"]
    s["next_withdrawal_validator_index"] %= len(s["balances"])
    return paid


def sync_aggregate(s: Chain, c: Constants, committee: list[int], bits: list[int], proposer: int) -> None:
    total = total_active(s, c)
    base = ETH * c["BASE_REWARD_FACTOR"] // isqrt(total) * (total // ETH)
    seat = base * c["SYNC_REWARD_WEIGHT"] // c["WEIGHT_DENOMINATOR"] // c["SLOTS_PER_EPOCH"] // c["SYNC_COMMITTEE_SIZE"]
    share = seat * c["PROPOSER_WEIGHT"] // (c["WEIGHT_DENOMINATOR"] - c["PROPOSER_WEIGHT"])
    for i, bit in zip(committee, bits, strict=True):
        if bit:
            s["balances"][i] += seat
            s["balances"][proposer] += share
        else:
            decrease(s, i, seat)


def rewards_and_penalties(s: Chain, c: Constants) -> tuple[int, int]:
    """The step of an epoch after genesis; returns what was paid and what was taken, and refuses any overflow."""
    now, total = epoch_of(s, c), total_active(s, c)
    previous, per_increment = now - 1, ETH * c["BASE_REWARD_FACTOR"] // isqrt(total)
    leak = previous - s["finalized_epoch"] > c["MIN_EPOCHS_TO_INACTIVITY_PENALTY"]
    everyone = range(len(s["balances"]))
    eligible = [
        is_active(s, i, previous) or (s["slashed"][i] and previous + 1 < s["withdrawable_epoch"][i]) for i in everyone
    ]
    quotient = c.get("INACTIVITY_PENALTY_QUOTIENT_BELLATRIX", c["INACTIVITY_PENALTY_QUOTIENT_ALTAIR"])
    paid = taken = 0
    for flag, weight in enumerate((14, 26, 14, None)):
        bit = 1 if flag == 3 else flag  # the inactivity penalty is for the target
        holds = [
            is_active(s, i, previous) and not s["slashed"][i] and s["previous_epoch_participation"][i] >> bit & 1
            for i in everyone
        ]
        holding = max(ETH, sum(s["effective_balance"][i] for i in everyone if holds[i])) // ETH
        for i in everyone:
            if not eligible[i]:
                continue
            base, reward, penalty = s["effective_balance"][i] // ETH * per_increment, 0, 0
            if weight is None:
                product = 0 if holds[i] else s["effective_balance"][i] * s["inactivity_scores"][i]
                penalty = product // (c["INACTIVITY_SCORE_BIAS"] * quotient)
            elif holds[i]:
                product = base * weight * holding
                reward = 0 if leak else product // (total // ETH * 64)
            else:
                product = base * weight
                penalty = 0 if flag == 2 else product // 64
            before = s["balances"][i]
            assert max(product, before + reward) < 2**64, "the specification itself would overflow"
            s["balances"][i] = max(before + reward - penalty, 0)
            paid += reward
            taken += before + reward - s["balances"][i]
    return paid, taken
