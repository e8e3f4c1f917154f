"""The readers of the Beacon API, from files and from a server that plays a node."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jaxstake.data import beacon_rewards, beacon_validators, web

QUICK = web.Client(connect_s=1.0, read_s=0.3, retries=1, longest_wait_s=1.0)
DUTIES = ("head", "target", "source", "inactivity")
EPOCHS = ("activation_eligibility_epoch", "activation_epoch", "exit_epoch", "withdrawable_epoch")
PARTS = ("attestations", "sync_aggregate", "proposer_slashings", "attester_slashings")


@pytest.fixture(scope="module")
def samples(shared: Path) -> dict[str, list[dict[str, Any]]]:
    return json.loads((shared / "data" / "beacon_api_samples.json").read_text())


def written(folder: Path, value: Any) -> Path:
    path = folder / "answer.json"
    path.write_text(json.dumps(value))
    return path


def duties(**more: str) -> dict[str, str]:
    return {"head": "75", "target": "140", "source": "75", "inactivity": "0", **more}


def attestations(ideal: list[Any] | None = None, total: list[Any] | None = None, **more: Any) -> dict[str, Any]:
    ideal = [duties(effective_balance="1000000000")] if ideal is None else ideal
    total = [duties(validator_index="7")] if total is None else total
    return {"data": {"ideal_rewards": ideal, "total_rewards": total}, **more}


def validator(index: int, **more: Any) -> dict[str, Any]:
    inner = {
        "pubkey": "0x" + "8a" * 48,
        "withdrawal_credentials": "0x" + "01" * 32,
        "effective_balance": "32000000000",
        "slashed": False,
        **dict.fromkeys(EPOCHS, "5"),
    }
    outer = {"index": str(index), "balance": "32000000000", "status": "active_ongoing"}
    outer |= {name: value for name, value in more.items() if name in outer}
    return {**outer, "validator": inner | {name: value for name, value in more.items() if name not in outer}}


def test_the_complete_epoch(samples, tmp_path: Path) -> None:
    """Against the json module, and its check: 32 ETH earn 2,417 + 4,502 + 2,423 Gwei."""
    answer = samples["attestation_rewards"][0]["response"]
    found = beacon_rewards.attestation_rewards(written(tmp_path, answer))
    for table, rows, key in (
        (found.ideal, answer["data"]["ideal_rewards"], "effective_balance"),
        (found.total, answer["data"]["total_rewards"], "validator_index"),
    ):
        for name in DUTIES:
            values = getattr(table, f"{name}_gwei")
            assert values.dtype == np.int64
            assert values.tolist() == [int(row[name]) for row in rows]
        keys = found.ideal.effective_balance_gwei if table is found.ideal else found.total.validator_index
        assert keys.tolist() == [int(row[key]) for row in rows]
        assert table.inclusion_delay_gwei is None
    ideal = found.ideal
    (at,) = np.flatnonzero(ideal.effective_balance_gwei == 32 * 10**9)
    assert [int(getattr(ideal, f"{name}_gwei")[at]) for name in DUTIES] == [2417, 4502, 2423, 0]
    assert found.total.target_gwei.min() == -4511
    assert ideal.head_gwei.size == 32
    assert (found.execution_optimistic, found.finalized) == (False, None)


def test_the_complete_epoch_is_what_the_specification_pays(samples, tmp_path: Path) -> None:
    """Base reward times weight over 64 times a participation near 1, with a stake that was near 33.85 million ETH."""
    found = beacon_rewards.attestation_rewards(written(tmp_path, samples["attestation_rewards"][0]["response"]))
    (at,) = np.flatnonzero(found.ideal.effective_balance_gwei == 32 * 10**9)
    per_increment = 10**9 * 64 // math.isqrt(33_850_000 * 10**9)
    for name, weight in (("source", 14), ("target", 26), ("head", 14)):
        ratio = int(getattr(found.ideal, f"{name}_gwei")[at]) / (32 * per_increment * weight / 64)
        assert 0.99 < ratio <= 1.0


def test_all_samples_from_files(samples, tmp_path: Path) -> None:
    for sample in samples["attestation_rewards"]:
        found = beacon_rewards.attestation_rewards(written(tmp_path, sample["response"]))
        total = sum(int(row[name]) for row in sample["response"]["data"]["total_rewards"] for name in DUTIES)
        assert sum(int(getattr(found.total, f"{name}_gwei").sum()) for name in DUTIES) == total
    for sample in samples["block_rewards"]:
        found = beacon_rewards.block_rewards(written(tmp_path, sample["response"]))
        data = sample["response"]["data"]
        assert found.total_gwei.tolist() == [int(data["total"])] == [sum(int(data[name]) for name in PARTS)]
        assert [int(getattr(found, f"{name}_gwei")[0]) for name in PARTS] == [int(data[name]) for name in PARTS]
        assert (found.proposer_index.tolist(), found.not_found) == ([int(data["proposer_index"])], ())
    for sample in samples["sync_committee_rewards"]:
        found = beacon_rewards.sync_committee_rewards(written(tmp_path, sample["response"]))
        rows = sample["response"]["data"]
        assert found.reward_gwei.tolist() == [int(row["reward"]) for row in rows]
        assert found.validator_index.tolist() == [int(row["validator_index"]) for row in rows]
        assert found.reward_gwei.min() < 0
    for sample in samples["validators"]:
        found = beacon_validators.read(written(tmp_path, sample["response"]))
        (row,) = sample["response"]["data"]
        assert (found.index.tolist(), found.balance_gwei.tolist()) == ([int(row["index"])], [int(row["balance"])])
        assert found.status.tolist() == [row["status"]]
        for name in EPOCHS:
            assert getattr(found, name).dtype == np.uint64
            assert getattr(found, name).tolist() == [int(row["validator"][name])]
        assert found.exit_epoch[0] == beacon_validators.FAR_FUTURE_EPOCH == 2**64 - 1
        assert found.pubkey.tolist() == [row["validator"]["pubkey"]]
        assert found.withdrawal_credentials.tolist() == [row["validator"]["withdrawal_credentials"]]
        assert found.slashed.tolist() == [False]
        assert (found.execution_optimistic, found.finalized) == (False, True)


def test_all_samples_from_a_server(samples, server) -> None:
    """Every sample is asked for at the path that is written beside it."""
    answers = {one["request"]["path"]: one["response"] for group in samples.values() for one in group}
    server.answer = lambda asked: server.Reply(body=answers[asked.path])
    url = server.url

    found = beacon_rewards.attestation_rewards(url, epoch=335_909)
    assert (server.asked[-1].method, json.loads(server.asked[-1].body)) == ("POST", [])
    assert found.ideal.head_gwei.size == 32
    beacon_rewards.attestation_rewards(url, epoch=268_940, validators=[195_766, "198275"])
    assert json.loads(server.asked[-1].body) == ["195766", "198275"]

    found = beacon_rewards.block_rewards(url, blocks=[10_760_040, "head", 1_714_850])
    assert found.total_gwei.tolist() == [42_294_581, 44_337_971, 48_373_688]
    assert found.block_id.tolist() == ["10760040", "head", "1714850"]
    assert server.asked[-1].method == "GET"

    found = beacon_rewards.sync_committee_rewards(url, block=10_760_058, validators=[1])
    assert (found.reward_gwei.tolist(), server.asked[-1].method) == ([22_456, 22_456, -22_456], "POST")

    found = beacon_validators.read(url, state="finalized", ids=[155_949, 3], statuses=["active"])
    assert found.index.tolist() == [155_949]
    assert (server.asked[-1].method, server.asked[-1].query) == ("GET", {"id": ["155949", "3"], "status": ["active"]})


def test_many_validators_are_asked_for_in_a_body(server) -> None:
    server.replies(server.Reply(body={"data": [validator(1)]}))
    beacon_validators.read(server.url, state=7, ids=range(65))
    asked = server.asked[-1]
    assert (asked.method, asked.path, asked.query) == ("POST", "/eth/v1/beacon/states/7/validators", {})
    assert json.loads(asked.body) == {"ids": [str(index) for index in range(65)], "statuses": []}


def test_blocks_that_a_node_does_not_have_are_reported(server) -> None:
    data = {"proposer_index": "1", "total": "6", **dict(zip(PARTS, ("1", "2", "3", "0"), strict=True))}

    def answer(asked: Any) -> Any:
        if asked.path.endswith("/11"):
            return server.Reply(status=404, body={"code": 404, "message": "Block not found"})
        return server.Reply(body={"execution_optimistic": True, "data": data})

    server.answer = answer
    found = beacon_rewards.block_rewards(server.url, blocks=[10, 11, 12])
    assert found.block_id.tolist() == ["10", "12"]
    assert found.not_found == ("11",)
    assert found.execution_optimistic.tolist() == [True, True]
    with pytest.raises(ValueError, match="the node has none of the 1 blocks, the first is 11"):
        beacon_rewards.block_rewards(server.url, blocks=[11])
    server.answer = lambda _: server.Reply(status=400, body={"message": "Invalid block ID"})
    with pytest.raises(web.WebError, match="HTTP 400 Bad Request: Invalid block ID"):
        beacon_rewards.block_rewards(server.url, blocks=[11])


def test_rewards_of_the_first_fork(tmp_path: Path) -> None:
    answer = attestations(ideal=[duties(effective_balance="1", inclusion_delay="9")], finalized=False)
    found = beacon_rewards.attestation_rewards(written(tmp_path, answer))
    assert found.ideal.inclusion_delay_gwei.tolist() == [9]
    assert found.total.inclusion_delay_gwei is None
    assert found.finalized is False


BLOCK = {"proposer_index": "1", "total": "6", **dict(zip(PARTS, ("1", "2", "3", "0"), strict=True))}
READERS: dict[str, Callable[[Any], Any]] = {
    "attestations": beacon_rewards.attestation_rewards,
    "block": beacon_rewards.block_rewards,
    "sync": beacon_rewards.sync_committee_rewards,
    "validators": beacon_validators.read,
}


@pytest.mark.parametrize(
    ("reader", "answer", "message"),
    [
        *((name, [], " must be an object with the field data, got []") for name in READERS),
        *((name, {"code": 404}, " has no field data; found: code") for name in READERS),
        ("sync", {"data": []}, ", data is an empty list"),
        ("validators", {"data": []}, ", data is an empty list"),
        ("validators", {"data": {}}, ", data must be a list, got {}"),
        ("attestations", {"data": []}, ", data must be an object with the field ideal_rewards, got []"),
        ("attestations", attestations(ideal=[]), ", data.ideal_rewards is an empty list"),
        ("attestations", attestations(total=[]), ", data.total_rewards is an empty list"),
        (
            "attestations",
            attestations(total=[duties(validator_index="1"), duties(validator_index="1")]),
            ", data.total_rewards, row 2: validator_index 1 is in row 1 already",
        ),
        (
            "attestations",
            attestations(ideal=[duties(effective_balance="-1")]),
            ", data.ideal_rewards, row 1: effective_balance must be in [0, ",
        ),
        (
            "attestations",
            attestations(total=[duties(validator_index="1", target=str(-(2**63) - 1))]),
            ", data.total_rewards, row 1: target must be in [-9223372036854775808, 9223372036854775807], got -92",
        ),
        (
            "attestations",
            attestations(total=[{"validator_index": "1", "head": "5"}]),
            ", data.total_rewards, row 1: has no field target",
        ),
        (
            "attestations",
            attestations(
                total=[duties(validator_index="1", inclusion_delay="1"), duties(validator_index="2")],
            ),
            ", data.total_rewards, row 2: has no field inclusion_delay",
        ),
        ("attestations", attestations(finalized="yes"), ': finalized must be true or false, got "yes"'),
        ("attestations", attestations(execution_optimistic=1), ": execution_optimistic must be true or false, got 1"),
        ("block", {"data": {**BLOCK, "total": "7"}}, ", data: total must be the sum of its parts, 6, got 7"),
        ("block", {"data": {**BLOCK, "attestations": "-1"}}, ", data, row 1: attestations must be in [0, "),
        ("block", {"data": {**BLOCK, "attestations": 1}}, ", data, row 1: attestations must be a whole number as a"),
        ("block", {"data": [BLOCK]}, ", data, row 1: must be an object, got [{"),
        ("sync", {"data": [{"validator_index": "1", "reward": 5}]}, ", data, row 1: reward must be a whole number as"),
        ("sync", {"data": [{"validator_index": "1"}]}, ", data, row 1: has no field reward"),
        (
            "validators",
            {"data": [validator(1), validator(2, status="active")]},
            ", data, row 2: status must be one of pending_initialized, pending_queued, active_ongoing",
        ),
        ("validators", {"data": [validator(1), validator(1)]}, ", data, row 2: index 1 is in row 1 already"),
        ("validators", {"data": [validator(1, balance="-1")]}, ", data, row 1: balance must be in [0, "),
        (
            "validators",
            {"data": [validator(1, exit_epoch=str(2**64))]},
            ", data.validator, row 1: exit_epoch must be in [0, 18446744073709551615], got 18446744073709551616",
        ),
        (
            "validators",
            {"data": [validator(1, exit_epoch=2**64 - 1)]},
            ", data.validator, row 1: exit_epoch must be a whole number as a decimal string, got 18446744073709551615",
        ),
        (
            "validators",
            {"data": [validator(1, slashed="no")]},
            ", data.validator, row 1: slashed must be true or false",
        ),
        ("validators", {"data": [validator(1, pubkey="0x")]}, ", data.validator, row 1: pubkey must be 0x and 96 hexa"),
        (
            "validators",
            {"data": [{**validator(1), "validator": None}]},
            ", data, row 1: validator must be an object, got null",
        ),
    ],
)
def test_refuses_answers_of_another_shape(tmp_path: Path, reader: str, answer: Any, message: str) -> None:
    path = written(tmp_path, answer)
    with pytest.raises(ValueError, match=re.escape(f"{path}{message}")):
        READERS[reader](path)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (
            lambda _, url: beacon_rewards.attestation_rewards(url),
            "a request needs epoch, a whole number or a name, got",
        ),
        (lambda _, url: beacon_rewards.attestation_rewards(url, epoch=-1), "got -1"),
        (lambda _, url: beacon_rewards.attestation_rewards(url, epoch=True), "got True"),
        (lambda _, url: beacon_rewards.block_rewards(url), "a request needs blocks"),
        (lambda _, url: beacon_rewards.block_rewards(url, blocks=["../x"]), "needs blocks, a whole number or a name"),
        (lambda _, url: beacon_rewards.sync_committee_rewards(url, block=""), "a request needs block, a whole number"),
        (lambda _, url: beacon_validators.read(url), "a request needs state, a whole number or a name, got None"),
        (
            lambda _, url: beacon_validators.read(url, state="head", statuses=["alive"]),
            "a status must be one of pending_initialized",
        ),
        (
            lambda file, _: beacon_rewards.attestation_rewards(file, epoch=1),
            "is a file, epoch is for a request to a no",
        ),
        (
            lambda file, _: beacon_rewards.block_rewards(file, blocks=[1]),
            "is a file, blocks is for a request to a node",
        ),
        (lambda file, _: beacon_rewards.sync_committee_rewards(file, validators=[1]), "is a file, validators is for a"),
        (lambda file, _: beacon_validators.read(file, ids=[1]), "is a file, ids is for a request to a node"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, server, read: Callable[..., Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(written(tmp_path, {}), server.url)
    assert server.asked == []


def test_failures_of_a_node(server) -> None:
    """One of each kind; all of them are in the tests of `web`."""
    good = server.Reply(body={"data": [validator(7)]})
    server.replies(server.Reply(status=429, headers={"Retry-After": "1"}), good)
    assert beacon_validators.read(server.url, state="head", client=QUICK).index.tolist() == [7]
    assert server.asked[1].at - server.asked[0].at >= 1.0
    for reply, message in (
        (server.Reply(status=429), "HTTP 429 Too Many Requests"),
        (server.Reply(status=404, body={"code": 404, "message": "State not found"}), "HTTP 404 Not Found: State not f"),
        (server.Reply(status=500, body={"message": "Internal error"}), "HTTP 500 Internal Server Error: Internal err"),
        (server.Reply(delay=5.0), "no answer within 0.3 s"),
        (server.Reply(body={"data": [validator(7)]}, cut=30), "the answer is cut off"),
        (server.Reply(body=b'{"data": '), "is not valid JSON"),
        (server.Reply(body={"data": 5}), "data must be a list, got 5"),
    ):
        server.replies(reply)
        with pytest.raises(ValueError, match=re.escape(message)) as caught:
            beacon_validators.read(server.url, state="head", client=QUICK)
        assert str(caught.value).startswith(f"{server.url}/eth/v1/beacon/states/head/validators")


GWEI = st.integers(-(2**63), 2**63 - 1)
INDEX = st.integers(0, 2**63 - 1)
EPOCH = st.one_of(st.just(2**64 - 1), st.integers(0, 2**64 - 1), st.integers(2**53, 2**63))


@given(st.dictionaries(INDEX, st.tuples(GWEI, GWEI, GWEI, GWEI), min_size=1, max_size=20))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rewards_come_back_exactly(tmp_path: Path, rewards: dict[int, tuple[int, ...]]) -> None:
    rows = [
        {"validator_index": str(index), **dict(zip(DUTIES, map(str, values), strict=True))}
        for index, values in rewards.items()
    ]
    found = beacon_rewards.attestation_rewards(written(tmp_path, attestations(total=rows))).total
    assert found.validator_index.tolist() == list(rewards)
    for at, name in enumerate(DUTIES):
        assert getattr(found, f"{name}_gwei").tolist() == [values[at] for values in rewards.values()]


@given(
    st.dictionaries(
        INDEX,
        st.tuples(INDEX, st.sampled_from(beacon_validators.STATUSES), st.booleans(), EPOCH, EPOCH, EPOCH, EPOCH),
        min_size=1,
        max_size=20,
    )
)
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_validators_come_back_exactly(tmp_path: Path, held: dict[int, tuple[Any, ...]]) -> None:
    """Epochs above 2^53 and 2^63 pass through neither float nor int64."""
    rows = [
        validator(
            index, balance=str(gwei), status=status, slashed=slashed, **dict(zip(EPOCHS, map(str, epochs), strict=True))
        )
        for index, (gwei, status, slashed, *epochs) in held.items()
    ]
    found = beacon_validators.read(written(tmp_path, {"data": rows}))
    assert found.index.tolist() == list(held)
    assert found.balance_gwei.tolist() == [row[0] for row in held.values()]
    assert found.status.tolist() == [row[1] for row in held.values()]
    assert found.slashed.tolist() == [row[2] for row in held.values()]
    for at, name in enumerate(EPOCHS):
        assert getattr(found, name).tolist() == [row[3 + at] for row in held.values()]
