"""Readers of rewards from the Beacon API: of attestations, blocks and sync committees.

Each reads a file with the answer of the API, or asks a node at its base URL. Amounts are in Gwei, exact, and negative
where they are penalties. An answer of another shape is refused, and no row is dropped. Unknown fields are ignored.

Source: the Beacon API (ethereum/beacon-APIs), `getAttestationsRewards`, `getBlockRewards`, `getSyncCommitteeRewards`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxstake.data import beacon_request, fields, web
from jaxstake.data.beacon_request import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duties:
    """Rewards of attestation duties by row, R of them.

    Attributes:
        head_gwei: [R] int64, reward for the head vote, Gwei.
        target_gwei: [R] int64, reward for the target vote; negative if it was missed.
        source_gwei: [R] int64, reward for the source vote; negative if it was missed.
        inactivity_gwei: [R] int64, penalty of an inactivity leak, at most 0.
        inclusion_delay_gwei: [R] int64, reward for early inclusion; None unless every row has it (phase 0 only).
    """

    head_gwei: np.ndarray
    target_gwei: np.ndarray
    source_gwei: np.ndarray
    inactivity_gwei: np.ndarray
    inclusion_delay_gwei: np.ndarray | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdealRewards(Duties):
    """Rewards of perfect duties.

    Attributes beside those of `Duties`:
        effective_balance_gwei: [R] int64, each of another balance.
    """

    effective_balance_gwei: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class ValidatorRewards(Duties):
    """Rewards of validators.

    Attributes beside those of `Duties`:
        validator_index: [R] int64, each of another validator.
    """

    validator_index: np.ndarray


@dataclasses.dataclass(frozen=True, kw_only=True)
class AttestationRewards:
    """Attestation rewards of an epoch.

    Attributes:
        ideal: what perfect duties earn, by effective balance.
        total: what validators earned.
        execution_optimistic: whether the node had not verified the payload yet; False where it does not say.
        finalized: whether the epoch was final; None where the node does not say.
    """

    ideal: IdealRewards
    total: ValidatorRewards
    execution_optimistic: bool
    finalized: bool | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockRewards:
    """Consensus rewards of the proposers of B blocks.

    Attributes:
        block_id: [B] str objects, what was asked for; "" from a file.
        proposer_index: [B] int64.
        total_gwei: [B] int64, the sum of the next four.
        attestations_gwei: [B] int64.
        sync_aggregate_gwei: [B] int64.
        proposer_slashings_gwei: [B] int64.
        attester_slashings_gwei: [B] int64.
        execution_optimistic: [B] bool; False where the node does not say.
        not_found: blocks asked for that the node does not have (status 404): the slot has no block, or the node no
            longer the state.
    """

    block_id: np.ndarray
    proposer_index: np.ndarray
    total_gwei: np.ndarray
    attestations_gwei: np.ndarray
    sync_aggregate_gwei: np.ndarray
    proposer_slashings_gwei: np.ndarray
    attester_slashings_gwei: np.ndarray
    execution_optimistic: np.ndarray
    not_found: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SyncCommitteeRewards:
    """Rewards of members of a sync committee in one block.

    Attributes:
        validator_index: [R] int64; a node may list a validator with several seats once or once per seat.
        reward_gwei: [R] int64, negative for a missed duty.
        execution_optimistic: whether the node had not verified the payload yet; False where it does not say.
        finalized: whether the block was final; None where the node does not say.
    """

    validator_index: np.ndarray
    reward_gwei: np.ndarray
    execution_optimistic: bool
    finalized: bool | None


def attestation_rewards(
    source: Source,
    *,
    epoch: int | None = None,
    validators: Sequence[int | str] = (),
    client: web.Client = web.DEFAULT,
) -> AttestationRewards:
    """Attestation rewards of an epoch.

    Args:
        source: a file with an answer, or the base URL of a node such as "http://localhost:5052".
        epoch: the epoch to ask a node for.
        validators: indices or public keys to ask for; default all.
        client: bounds of tries, time and size of the request.

    Raises:
        ValueError: a file with arguments of a request, or a URL without an epoch; a file that cannot be read or a
            request that failed (`web.WebError`); text that is not JSON; an answer of another shape, with the row and
            field; an empty list; a balance or a validator twice.

    Example:
        >>> import pathlib, tempfile
        >>> duties = '"head": "2417", "target": "4502", "source": "2423", "inactivity": "0"'
        >>> text = (f'{{"data": {{"ideal_rewards": [{{"effective_balance": "32000000000", {duties}}}],'
        ...         f'"total_rewards": [{{"validator_index": "7", {duties.replace("4502", "-4511")}}}]}}}}')
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "rewards.json"
        ...     _ = path.write_text(text)
        ...     found = attestation_rewards(path)
        >>> found.ideal.target_gwei.tolist(), found.total.target_gwei.tolist()
        ([4502], [-4511])
    """
    path = beacon_request.path("/eth/v1/beacon/rewards/attestations/", source, "epoch", epoch, validators=validators)
    place, answer = beacon_request.load(source, path, client, post=[str(item) for item in validators])
    data = fields.member(place, answer, "data")
    keyed = {}
    for name, key in (("ideal_rewards", "effective_balance"), ("total_rewards", "validator_index")):
        where = f"{place}, data.{name}"
        rows = fields.rows(where, fields.member(f"{place}, data", data, name))
        keyed[name] = {"rows": rows, "where": where, "key": beacon_request.distinct(where, rows, key)}
    ideal, total = keyed["ideal_rewards"], keyed["total_rewards"]
    return AttestationRewards(
        ideal=IdealRewards(effective_balance_gwei=ideal["key"], **_duties(ideal["where"], ideal["rows"])),
        total=ValidatorRewards(validator_index=total["key"], **_duties(total["where"], total["rows"])),
        **beacon_request.standing(place, answer),
    )


def block_rewards(
    source: Source, *, blocks: Sequence[int | str] = (), client: web.Client = web.DEFAULT
) -> BlockRewards:
    """Consensus rewards of the proposers of blocks.

    Args:
        source: a file with an answer, or the base URL of a node.
        blocks: slots, roots or names ("head", "finalized") of the blocks to ask a node for, one request each.
        client: bounds of tries, time and size of each request.

    Returns:
        `BlockRewards`: one row from a file, or one for every block that the node has.

    Raises:
        ValueError: as in `attestation_rewards`; the node has none of the blocks; a total is not the sum of its parts.
    """
    path = "/eth/v1/beacon/rewards/blocks/"
    if not web.is_url(source):
        beacon_request.path(path, source, "blocks", None, blocks=blocks)
        return _blocks([("", *beacon_request.load(source, "", client))], ())
    if not len(blocks):
        raise ValueError(f"{source}: a request needs blocks")
    answers, missing = [], []
    with web.session(client) as pool:
        for block in blocks:
            url = web.address(str(source), beacon_request.path(path, source, "blocks", block))
            try:
                answers.append((str(block), url, fields.parse(url, web.fetch(pool, url, client=client))))
            except web.WebError as error:
                if error.status != 404:
                    raise
                missing.append(str(block))
    if not answers:
        raise ValueError(f"{source}: the node has none of the {len(missing)} blocks, the first is {missing[0]}")
    return _blocks(answers, tuple(missing))


def sync_committee_rewards(
    source: Source,
    *,
    block: int | str | None = None,
    validators: Sequence[int | str] = (),
    client: web.Client = web.DEFAULT,
) -> SyncCommitteeRewards:
    """Rewards of the members of a sync committee in one block.

    Args:
        source: a file with an answer, or the base URL of a node.
        block: slot, root or name ("head", "finalized") of the block to ask a node for.
        validators: indices or public keys to ask for; default the whole committee.
        client: bounds of tries, time and size of the request.

    Raises:
        ValueError: as in `attestation_rewards`.
    """
    path = beacon_request.path("/eth/v1/beacon/rewards/sync_committee/", source, "block", block, validators=validators)
    place, answer = beacon_request.load(source, path, client, post=[str(item) for item in validators])
    rows = fields.rows(f"{place}, data", fields.member(place, answer, "data"))
    where = f"{place}, data"
    return SyncCommitteeRewards(
        validator_index=np.array(fields.wholes(where, rows, "validator_index"), np.int64),
        reward_gwei=np.array(fields.wholes(where, rows, "reward", signed=True), np.int64),
        **beacon_request.standing(place, answer),
    )


def _duties(where: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        f"{name}_gwei": np.array(fields.wholes(where, rows, name, signed=True), np.int64)
        for name in ("head", "target", "source", "inactivity")
    }
    if any("inclusion_delay" in row for row in rows):
        columns["inclusion_delay_gwei"] = np.array(fields.wholes(where, rows, "inclusion_delay"), np.int64)
    return {"inclusion_delay_gwei": None, **columns}


def _blocks(answers: list[tuple[str, str, Any]], missing: tuple[str, ...]) -> BlockRewards:
    parts = ("attestations", "sync_aggregate", "proposer_slashings", "attester_slashings")
    columns: dict[str, list[int]] = {name: [] for name in ("proposer_index", "total", *parts)}
    optimistic = []
    for _, place, answer in answers:
        row = [fields.member(place, answer, "data")]
        found = {name: fields.wholes(f"{place}, data", fields.rows(f"{place}, data", row), name)[0] for name in columns}
        if found["total"] != (expected := sum(found[name] for name in parts)):
            raise ValueError(f"{place}, data: total must be the sum of its parts, {expected}, got {found['total']}")
        for name, value in found.items():
            columns[name].append(value)
        optimistic.append(beacon_request.standing(place, answer)["execution_optimistic"])
    return BlockRewards(
        block_id=fields.objects([block for block, _, _ in answers]),
        proposer_index=np.array(columns.pop("proposer_index"), np.int64),
        execution_optimistic=np.array(optimistic, bool),
        not_found=missing,
        **{f"{name}_gwei": np.array(values, np.int64) for name, values in columns.items()},
    )
