"""The specification's block operations on one validator at a time, in plain Python integers; see `spec_loops`."""

from __future__ import annotations

from tests.oracles.spec_loops import (
    ETH,
    NEVER,
    Chain,
    Constants,
    balance_churn,
    decrease,
    electra,
    epoch_of,
    exit_validator,
    gloas,
    is_active,
    push,
    total_active,
)


def slash(s: Chain, c: Constants, i: int, proposer: int) -> None:
    epoch, window = epoch_of(s, c), c["EPOCHS_PER_SLASHINGS_VECTOR"]
    if s["slashed"][i] or not s["activation_epoch"][i] <= epoch < s["withdrawable_epoch"][i]:
        return
    exit_validator(s, c, i)
    s["slashed"][i] = 1
    s["withdrawable_epoch"][i] = max(s["withdrawable_epoch"][i], epoch + window)
    effective = s["effective_balance"][i]
    s["slashings"][epoch % window] += effective
    suffix = "_ELECTRA" if electra(c) else "_BELLATRIX" if "MIN_SLASHING_PENALTY_QUOTIENT_BELLATRIX" in c else "_ALTAIR"
    decrease(s, i, effective // c["MIN_SLASHING_PENALTY_QUOTIENT" + suffix])
    reward = effective // c["WHISTLEBLOWER_REWARD_QUOTIENT" + ("_ELECTRA" if electra(c) else "")]
    s["balances"][proposer] += reward


def leave(s: Chain, c: Constants, i: int) -> None:
    epoch = epoch_of(s, c)
    pending = electra(c) and i in s["pending_partial_withdrawals_validator_index"]
    served = epoch >= s["activation_epoch"][i] + c["SHARD_COMMITTEE_PERIOD"]
    if is_active(s, i, epoch) and s["exit_epoch"][i] == NEVER and served and not pending:
        exit_validator(s, c, i)


def consolidation_churn(s: Chain, c: Constants) -> int:
    if gloas(c):
        churn = total_active(s, c) // c["CONSOLIDATION_CHURN_LIMIT_QUOTIENT"]
        return churn - churn % ETH
    churn = max(c["MIN_PER_EPOCH_CHURN_LIMIT_ELECTRA"], total_active(s, c) // c["CHURN_LIMIT_QUOTIENT"])
    return churn - churn % ETH - balance_churn(s, c, entering=False)


def consolidate(s: Chain, c: Constants, source: int, target: int, capacity: int) -> None:
    epoch, prefix = epoch_of(s, c), s["cred_prefix"]
    stays = is_active(s, source, epoch) and s["exit_epoch"][source] == NEVER
    if source == target:
        if stays and prefix[source] == 1:
            _switch(s, c, source)
        return
    if len(s["pending_consolidations_source"]) == capacity or consolidation_churn(s, c) <= c["MIN_ACTIVATION_BALANCE"]:
        return
    if prefix[source] == 0 or prefix[target] != 2:
        return
    target_stays = is_active(s, target, epoch) and s["exit_epoch"][target] == NEVER
    if not stays or not target_stays or epoch < s["activation_epoch"][source] + c["SHARD_COMMITTEE_PERIOD"]:
        return
    if source in s["pending_partial_withdrawals_validator_index"]:
        return
    s["exit_epoch"][source] = _consolidation_epoch(s, c, s["effective_balance"][source])
    s["withdrawable_epoch"][source] = s["exit_epoch"][source] + c["MIN_VALIDATOR_WITHDRAWABILITY_DELAY"]
    push(s, "pending_consolidations", [{"source": source, "target": target}])


def _switch(s: Chain, c: Constants, i: int) -> None:
    s["cred_prefix"][i] = 2
    excess = s["balances"][i] - c["MIN_ACTIVATION_BALANCE"]
    if excess > 0:
        s["balances"][i] = c["MIN_ACTIVATION_BALANCE"]
        entry = {"pubkey_id": s["pubkey_id"][i], "cred_prefix": 2, "amount": excess, "slot": 0}
        push(s, "pending_deposits", [entry])


def _consolidation_epoch(s: Chain, c: Constants, balance: int) -> int:
    per_epoch, soonest = consolidation_churn(s, c), epoch_of(s, c) + 1 + c["MAX_SEED_LOOKAHEAD"]
    earliest = max(s["earliest_consolidation_epoch"], soonest)
    room = per_epoch if s["earliest_consolidation_epoch"] < earliest else s["consolidation_balance_to_consume"]
    if balance > room:
        more = (balance - room - 1) // per_epoch + 1
        earliest += more
        room += more * per_epoch
    s["consolidation_balance_to_consume"] = room - balance
    s["earliest_consolidation_epoch"] = earliest
    return earliest
