"""One function for each kind of golden file: run the engine on its inputs and compare all of its outputs."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxstake.beacon import accessors, block, churn, epoch, integers, pending, registry, rewards, withdrawals
from jaxstake.beacon.arrays import arrays_from_state, state_from_arrays
from jaxstake.beacon.rules import has_balance_queues, has_builders
from tests.beacon.golden_state import NEVER, Golden, state_of

STEPS = {
    "justification": "process_justification_and_finalization",
    "inactivity": "process_inactivity_updates",
    "rewards": "process_rewards_and_penalties",
    "registry": "process_registry_updates",
    "slashings": "process_slashings",
    "pending_deposits": "process_pending_deposits",
    "pending_consolidations": "process_pending_consolidations",
    "builder_payments": "process_builder_pending_payments",
    "effective_balance": "process_effective_balance_updates",
}
jit = partial(jax.jit, static_argnums=0)
process_epoch = jit(epoch.process_epoch)


# --- Values read off a state -----------------------------------------------------------------------------------------


@jit
def readings(rules, state):
    """Every array of the groups `calc` and `delta`, by function and name."""
    total = accessors.get_total_active_balance(rules, state)
    active = accessors.get_active_validator_count(rules, state)
    per_increment = accessors.get_base_reward_per_increment(rules, total_active_balance=total)
    found = {
        ("get_total_active_balance", "calc.total_active_balance"): total,
        ("get_base_reward_per_increment", "calc.base_reward_per_increment"): per_increment,
        ("get_base_reward", "calc.base_reward"): accessors.get_base_reward(rules, state),
        ("get_eligible_validator_indices", "calc.eligible"): accessors.get_eligible_validator_indices(rules, state),
        ("is_in_inactivity_leak", "calc.is_in_inactivity_leak"): accessors.is_in_inactivity_leak(rules, state),
    }
    for flag in range(3):
        pair = rewards.get_flag_index_deltas(rules, state, flag)
        for kind, values in zip(("rewards", "penalties"), pair, strict=True):
            found["get_flag_index_deltas", f"delta.flag{flag}_{kind}"] = values
    _, inactivity = rewards.get_inactivity_penalty_deltas(rules, state)
    found["get_inactivity_penalty_deltas", "delta.inactivity_penalties"] = inactivity
    for name, value in limits(rules, total, active).items():
        found[f"get_{name}", f"calc.{name}"] = value
    return {" ".join(key): value for key, value in found.items()}


def limits(rules, total, active):
    """Every limit that a fork defines, by name."""
    count = {"active_validators": active}
    balance = {"total_active_balance": total}
    found = {
        "validator_churn_limit": churn.get_validator_churn_limit(rules, **count),
        "validator_activation_churn_limit": churn.get_validator_activation_churn_limit(rules, **count),
    }
    if has_balance_queues(rules):
        found["consolidation_churn_limit"] = churn.get_consolidation_churn_limit(rules, **balance)
        if not has_builders(rules):
            found["balance_churn_limit"] = churn.get_balance_churn_limit(rules, **balance)
            found["activation_exit_churn_limit"] = churn.get_activation_exit_churn_limit(rules, **balance)
    if has_builders(rules):
        found["activation_churn_limit"] = churn.get_activation_churn_limit(rules, **balance)
        found["exit_churn_limit"] = churn.get_exit_churn_limit(rules, **balance)
        found["builder_payment_quorum_threshold"] = pending.get_builder_payment_quorum_threshold(rules, **balance)
    return found


def check_readings(golden: Golden, state) -> None:
    found = {tuple(key.split(" ")): value for key, value in readings(golden.rules, state).items()}
    n = int(state.n_validators)
    for (function, name), value in found.items():
        if name in golden:
            golden.check(function, name, value[:n] if value.ndim else value)


# --- Epochs -----------------------------------------------------------------------------------------------------------

_JITTED = {name: jit(getattr(epoch, name)) for name in [*STEPS.values(), "process_participation_flag_updates"]}


def check_epoch(golden: Golden) -> None:
    rules, start = golden.rules, state_of(golden)
    assert int(accessors.get_current_epoch(rules, start)) == int(golden.arrays["in.current_epoch"])
    check_readings(golden, start)
    assert {step.__name__ for step in epoch.steps(rules)} >= {STEPS[name] for name in steps_of(golden)}
    state = start
    for name in steps_of(golden):
        function = STEPS[name]
        alone = arrays_from_state(_JITTED[function](rules, start))
        golden.check_fields(function, f"sep.{name}", alone)
        state = _JITTED[function](rules, state)
        golden.check_fields(function, f"seq.{name}", arrays_from_state(state))
    final = process_epoch(rules, start)
    assert not bool(final.overflowed)
    golden.check_fields("process_epoch", "out", arrays_from_state(final))


def steps_of(golden: Golden) -> list[str]:
    """Steps in the order of the transition, those that the fork has."""
    names = {name.split(".")[1] for name in golden.arrays if name.startswith(("sep.", "seq."))}
    assert names <= STEPS.keys(), f"{golden.name} has unknown steps {names - STEPS.keys()}"
    own = {step.__name__ for step in epoch.steps(golden.rules)}
    return [name for name, function in STEPS.items() if function in own]


@jit
def leak_and_total(rules, state):
    return accessors.is_in_inactivity_leak(rules, state), accessors.get_total_active_balance(rules, state)


def check_multi(golden: Golden) -> None:
    rules, state = golden.rules, state_of(golden)
    participation = golden["multi.current_participation"]
    n, rows = participation.shape[1], []
    assert np.array_equal(participation[0], golden.arrays["in.current_participation"])
    for votes in participation:
        padded = np.zeros(state.balances.shape[0], np.uint8)
        padded[:n] = votes
        state = dataclasses.replace(state, current_epoch_participation=jnp.asarray(padded))
        _, total = leak_and_total(rules, state)
        state = process_epoch(rules, state)
        leak, _ = leak_and_total(rules, state)
        found = arrays_from_state(state)
        row = found | {"is_in_inactivity_leak": np.asarray(leak), "total_active_balance": np.asarray(total)}
        row["slashings_sum"] = found["slashings"].sum(dtype=np.uint64)
        for queue in ("pending_deposits", "pending_consolidations") if has_balance_queues(rules) else ():
            row[f"n_{queue}"] = np.asarray(getattr(state, queue).length)
        rows.append(row)
        state = dataclasses.replace(state, slot=state.slot + rules.slots_per_epoch)
    assert not bool(state.overflowed)
    golden.check_rows("process_epoch", "multi", rows)
    golden.check_fields("process_epoch", "out", arrays_from_state(state))


# --- Blocks -----------------------------------------------------------------------------------------------------------


@jit
def slash(rules, state, index, proposer, whistleblower):
    after = block.slash_validator(
        rules, state, slashed_index=index, proposer_index=proposer, whistleblower_index=whistleblower
    )
    row = {"effective_balance": state.effective_balance[index]}
    for when, of in (("before", state), ("after", after)):
        row[f"balance_{when}"] = of.balances[index]
        row[f"proposer_balance_{when}"] = of.balances[proposer]
        row[f"whistleblower_balance_{when}"] = of.balances[whistleblower]
    place = accessors.get_current_epoch(rules, state) % rules.epochs_per_slashings_vector
    row["slashings_at_epoch"] = after.slashings[place]
    return after, row | exit_row(rules, after, index)


def exit_row(rules, state, index):
    row = {"exit_epoch": state.exit_epoch[index], "withdrawable_epoch": state.withdrawable_epoch[index]}
    if has_balance_queues(rules):
        row["earliest_exit_epoch"] = state.earliest_exit_epoch
        row["exit_balance_to_consume"] = state.exit_balance_to_consume
    return row


def check_slash(golden: Golden) -> None:
    start, proposer = state_of(golden), golden["slash.proposer_index"]
    reporters = np.where(golden["slash.whistleblower_index"] == NEVER, proposer, golden["slash.whistleblower_index"])
    state, single, chain = start, [], []
    for index, reporter in zip(golden["slash.index"], reporters, strict=True):
        single.append(slash(golden.rules, start, index, proposer, reporter)[1])
        state, row = slash(golden.rules, state, index, proposer, reporter)
        chain.append(row)
    golden.check_rows("slash_validator", "slash_single", single)
    golden.check_rows("slash_validator", "slash_chain", chain)
    golden.check_fields("slash_validator", "out", arrays_from_state(state))


@jit
def exit_of(rules, state, index):
    after = registry.initiate_validator_exit(rules, state, index)
    return after, exit_row(rules, after, index)


def check_exits(golden: Golden) -> None:
    state, rows = state_of(golden), []
    for index in golden["exit.index"]:
        state, row = exit_of(golden.rules, state, index)
        rows.append(row)
    golden.check_rows("initiate_validator_exit", "exit", rows)
    golden.check_fields("initiate_validator_exit", "out", arrays_from_state(state))


@jit
def sync(rules, state, committee, bits, proposer):
    after = block.process_sync_aggregate(
        rules, state, committee_indices=committee, sync_committee_bits=bits, proposer_index=proposer
    )
    total = accessors.get_total_active_balance(rules, state)
    return after.balances, block.sync_rewards(rules, total_active_balance=total)


def check_sync(golden: Golden) -> None:
    state, n = state_of(golden), len(golden.arrays["in.balances"])
    check_readings(golden, state)
    rows = []
    for bits in golden["sync.bits"]:
        balances, (seat, proposer) = sync(
            golden.rules, state, golden["sync.committee_index"], bits, golden["sync.proposer_index"]
        )
        rows.append(np.asarray(balances)[:n])
    function = "process_sync_aggregate"
    golden.check(function, "sync.balances_after", np.stack(rows))
    golden.check(function, "sync.participant_reward", seat)
    golden.check(function, "sync.proposer_reward_per_participant", proposer)


@jit
def attest(rules, state, attesting, delay, mask, is_current, proposer, is_same_slot):
    """Whether target and head match is not in the files, so it is read off the flags; the rest must follow."""
    flags = block.get_attestation_participation_flag_indices(
        rules,
        inclusion_delay=delay,
        is_matching_target=mask & 2 != 0,
        is_matching_head=mask & 4 != 0,
    )
    slot = state.slot - delay
    after = block.process_attestation(
        rules,
        state,
        attesting=attesting,
        flags=flags,
        is_current=is_current,
        proposer_index=proposer,
        slot=slot,
        is_same_slot=is_same_slot,
    )
    row = {
        "flag_mask": flags.astype(jnp.uint64),
        "proposer_reward": after.balances[proposer] - state.balances[proposer],
    }
    for when, of in (("before", state), ("after", after)):
        row[f"current_participation_{when}"] = of.current_epoch_participation
        row[f"previous_participation_{when}"] = of.previous_epoch_participation
        if has_builders(rules):
            place = slot % rules.slots_per_epoch + jnp.where(is_current, jnp.uint64(rules.slots_per_epoch), 0)
            row[f"builder_payment_weight_{when}"] = of.builder_pending_payments.weight[place]
    return after, row


def check_attestation(golden: Golden) -> None:
    state, n = state_of(golden), len(golden.arrays["in.balances"])
    check_readings(golden, state)
    proposer, rows = golden["att.proposer_index"], []
    # That an attestation is for the block of its slot is not in the files either: it is, if the weight has moved.
    moved = np.zeros(len(golden["att.flag_mask"]), bool)
    if "att.builder_payment_weight_after" in golden:
        weights = [golden.arrays[f"att.builder_payment_weight_{when}"] for when in ("before", "after")]
        moved = weights[0] != weights[1]
    for event, mask in enumerate(golden["att.flag_mask"]):
        attesting = np.zeros(state.balances.shape[0], bool)
        attesting[:n] = golden["att.attesters"][event]
        is_current = golden["att.target_is_current_epoch"][event] == 1
        delay = golden["att.inclusion_delay"][event]
        slot_epoch = (int(state.slot) - int(delay)) // golden.rules.slots_per_epoch
        assert (slot_epoch == int(golden.arrays["in.current_epoch"])) == is_current, f"{golden.name}: slot of {event}"
        state, row = attest(golden.rules, state, attesting, delay, mask, is_current, proposer, moved[event])
        rows.append({name: np.asarray(value)[:n] if np.ndim(value) else value for name, value in row.items()})
    golden.unread.add("att.flag_mask")  # given back by the function, so compared as well
    golden.check_rows("process_attestation", "att", rows)


process_withdrawals = jit(withdrawals.process_withdrawals)


def check_withdrawals(golden: Golden) -> None:
    state, rows = state_of(golden), []
    for _ in range(len(golden.arrays["wd.count"])):
        first = state.next_withdrawal_index
        state, paid = process_withdrawals(golden.rules, state)
        found = arrays_from_state(state)
        places = jnp.arange(golden.rules.max_withdrawals_per_payload, dtype=jnp.uint64)
        partial_count = paid.processed_partial_withdrawals_count
        row = {
            "validator_index": paid.validator_index,
            "amount": paid.amount,
            "index": jnp.where(places < paid.length, first + places, integers.NEVER),
            "count": paid.length,
            "processed_partial_withdrawals": np.uint64(0) if partial_count is None else partial_count,
            "next_withdrawal_index": found["next_withdrawal_index"],
            "next_withdrawal_validator_index": found["next_withdrawal_validator_index"],
            "balances_after": found["balances"],
            "builders_balance_after": found.get("builders_balance"),
        }
        rows.append({name: np.asarray(value) for name, value in row.items()})
    golden.check_rows("process_withdrawals", "wd", rows)
    golden.check_fields("process_withdrawals", "out", arrays_from_state(state))


# --- Tables -----------------------------------------------------------------------------------------------------------


@jit
def table(rules, total, active, squares):
    """Every column; what goes by the number of validators has its own rows."""
    seat, proposer = block.sync_rewards(rules, total_active_balance=total)
    found = {
        "base_reward_per_increment": accessors.get_base_reward_per_increment(rules, total_active_balance=total),
        "sync_participant_reward": seat,
        "sync_proposer_reward_per_participant": proposer,
        "isqrt": integers.integer_squareroot(squares),
    }
    for name, value in limits(rules, total, active).items():
        found[f"{name}_by_count" if name.startswith("validator") else name] = value
    return found


def check_tables(golden: Golden) -> None:
    columns = [golden[f"table.{name}"] for name in ("total_active_balance", "active_count", "isqrt_n")]
    for name, value in table(golden.rules, *columns).items():
        if f"table.{name}" in golden:
            sync_reward = name.startswith("sync")
            function = {"isqrt": "integer_squareroot"}.get(name, f"get_{name.removesuffix('_by_count')}")
            golden.check("process_sync_aggregate" if sync_reward else function, f"table.{name}", value)
    if golden.names("exitq"):
        check_queue_runs(golden)


@jit
def queue_run(rules, state, amounts):
    """Exits and, apart from them, consolidations of the same amounts in a row."""

    def request(states, amount):
        exits, merges = states
        exits, exit_epoch = churn.compute_exit_epoch_and_update_churn(rules, exits, amount)
        merges, merge_epoch = churn.compute_consolidation_epoch_and_update_churn(rules, merges, amount)
        row = {"exit_epoch": exit_epoch, "exit_balance_to_consume": exits.exit_balance_to_consume}
        left = merges.consolidation_balance_to_consume
        row |= {
            "consolidation_epoch": merge_epoch,
            "consolidation_balance_to_consume": jnp.where(merge_epoch == integers.NEVER, integers.NEVER, left),
        }
        return (exits, merges), row

    return jax.lax.scan(request, (state, state), amounts)[1]


def check_queue_runs(golden: Golden) -> None:
    totals, heads, left = (
        golden[f"exitq.{name}"] for name in ("total_active_balance", "earliest_epoch_start", "balance_to_consume_start")
    )
    rows = int(max(totals)) // golden.rules.max_effective_balance_gwei + 2
    found = []
    for total, (exit_head, merge_head), (exit_left, merge_left), amounts in zip(
        totals, heads, left, golden["exitq.amount"], strict=True
    ):
        scalars = {
            "slot": golden["exitq.current_epoch"] * np.uint64(golden.rules.slots_per_epoch),
            "earliest_exit_epoch": exit_head,
            "earliest_consolidation_epoch": merge_head,
            "exit_balance_to_consume": exit_left,
            "consolidation_balance_to_consume": merge_left,
        }
        found.append(queue_run(golden.rules, network(golden.rules, int(total), rows, scalars), amounts))
    for name in ("consolidation_epoch", "consolidation_balance_to_consume"):
        stacked = np.stack([row[name] for row in found])
        golden.check("compute_consolidation_epoch_and_update_churn", f"exitq.{name}", stacked)
    golden.check_rows("compute_exit_epoch_and_update_churn", "exitq", found)


def network(rules, total, rows, scalars):
    """A state of active validators with a total effective balance."""
    most = rules.max_effective_balance_gwei
    effective = np.minimum(np.maximum(total - most * np.arange(rows), 0), most).astype(np.uint64)
    never = np.full(rows, NEVER, np.uint64)
    zeros, bytes_ = np.zeros(rows, np.uint64), np.zeros(rows, np.uint8)
    arrays = {
        "balances": effective,
        "effective_balance": effective,
        "inactivity_scores": zeros,
        "previous_epoch_participation": bytes_,
        "current_epoch_participation": bytes_,
        "slashed": bytes_,
        "activation_eligibility_epoch": zeros,
        "activation_epoch": zeros,
        "exit_epoch": never,
        "withdrawable_epoch": never,
        "cred_prefix": bytes_ + np.uint8(2),
        "slashings": np.zeros(rules.epochs_per_slashings_vector, np.uint64),
        "justification_bits": np.zeros(4, np.uint8),
    }
    return state_from_arrays(rules, arrays | scalars)


KINDS = {
    "epoch": check_epoch,
    "multi": check_multi,
    "longleak": check_multi,
    "slash": check_slash,
    "sync": check_sync,
    "attestation": check_attestation,
    "exits": check_exits,
    "withdrawals": check_withdrawals,
    "tables": check_tables,
}
