"""Reader of the validators of a state from the Beacon API.

It reads a file with the answer of the API, or asks a node at its base URL. Epochs are unsigned 64-bit integers, of
which the largest means "never". An answer of another shape is refused, and no row is dropped. Unknown fields are
ignored.

Source: the Beacon API (ethereum/beacon-APIs), `getStateValidators` and `postStateValidators`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxstake.data import beacon_request, fields, web
from jaxstake.data.beacon_request import Source

FAR_FUTURE_EPOCH = 2**64 - 1
"""The epoch of what has not been scheduled."""

STATUSES = (
    "pending_initialized",
    "pending_queued",
    "active_ongoing",
    "active_exiting",
    "active_slashed",
    "exited_unslashed",
    "exited_slashed",
    "withdrawal_possible",
    "withdrawal_done",
)
"""What the status of a validator may be."""

GROUPS = ("pending", "active", "exited", "withdrawal")
"""Groups of statuses, which a request may name too."""

_LARGEST_GET = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validators:
    """Validators of a state, V of them, in the order of the answer.

    Attributes:
        index: [V] int64, each of another validator.
        balance_gwei: [V] int64.
        status: [V] str, one of `STATUSES`.
        pubkey: [V] str objects, hexadecimal.
        withdrawal_credentials: [V] str objects, hexadecimal; the first byte tells their type.
        effective_balance_gwei: [V] int64.
        slashed: [V] bool.
        activation_eligibility_epoch: [V] uint64, `FAR_FUTURE_EPOCH` for never, and so the next three.
        activation_epoch: [V] uint64.
        exit_epoch: [V] uint64.
        withdrawable_epoch: [V] uint64.
        execution_optimistic: whether the node had not verified the payload yet; False where it does not say.
        finalized: whether the state was final; None where the node does not say.
    """

    index: np.ndarray
    balance_gwei: np.ndarray
    status: np.ndarray
    pubkey: np.ndarray
    withdrawal_credentials: np.ndarray
    effective_balance_gwei: np.ndarray
    slashed: np.ndarray
    activation_eligibility_epoch: np.ndarray
    activation_epoch: np.ndarray
    exit_epoch: np.ndarray
    withdrawable_epoch: np.ndarray
    execution_optimistic: bool
    finalized: bool | None


def read(
    source: Source,
    *,
    state: int | str | None = None,
    ids: Sequence[int | str] = (),
    statuses: Sequence[str] = (),
    client: web.Client = web.DEFAULT,
) -> Validators:
    """Validators of a state.

    Args:
        source: a file with an answer, or the base URL of a node.
        state: slot, root or name ("head", "finalized") of the state to ask a node for.
        ids: indices or public keys to ask for; default all. The node leaves out those that it does not know, so
            compare `index` with them.
        statuses: statuses to ask for, of `STATUSES` or `GROUPS`; default all.
        client: bounds of tries, time and size of the request; a million validators are some 500 MB.

    Raises:
        ValueError: as in `beacon_rewards.attestation_rewards`; a status that the API does not have.

    Example:
        >>> import json, pathlib, tempfile
        >>> inner = {"pubkey": "0x" + "8a" * 48, "withdrawal_credentials": "0x" + "01" * 32, "slashed": False}
        >>> inner |= {"effective_balance": "32000000000", "exit_epoch": "18446744073709551615"}
        >>> inner |= {"activation_eligibility_epoch": "1", "activation_epoch": "2", "withdrawable_epoch": "3"}
        >>> row = {"index": "7", "balance": "32000000001", "status": "active_ongoing", "validator": inner}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "validators.json"
        ...     _ = path.write_text(json.dumps({"data": [row]}))
        ...     found = read(path)
        >>> found.balance_gwei.tolist(), bool(found.exit_epoch[0] == FAR_FUTURE_EPOCH)
        ([32000000001], True)
    """
    for status in statuses:
        if status not in (*STATUSES, *GROUPS):
            raise ValueError(f"a status must be one of {', '.join((*STATUSES, *GROUPS))}, got {status!r}")
    path = beacon_request.path("/eth/v1/beacon/states/", source, "state", state, ids=ids, statuses=statuses)
    path += "/validators"
    names = [str(item) for item in ids]
    if len(names) > _LARGEST_GET:
        place, answer = beacon_request.load(source, path, client, post={"ids": names, "statuses": list(statuses)})
    else:
        query = {"id": names or None, "status": list(statuses) or None}
        place, answer = beacon_request.load(source, path, client, query=query)
    where = f"{place}, data"
    rows = fields.rows(where, fields.member(place, answer, "data"))
    inner = fields.inner(where, rows, "validator")
    index = beacon_request.distinct(where, rows, "index")
    where_inner = f"{where}.validator"
    epochs = ("activation_eligibility_epoch", "activation_epoch", "exit_epoch", "withdrawable_epoch")
    columns = {
        name: np.array(fields.wholes(where_inner, inner, name, most=fields.UINT64), np.uint64) for name in epochs
    }
    return Validators(
        index=index,
        balance_gwei=np.array(fields.wholes(where, rows, "balance"), np.int64),
        status=np.array(fields.names(where, rows, "status", known=STATUSES), str),
        pubkey=fields.objects(fields.hexes(where_inner, inner, "pubkey", size=48)),
        withdrawal_credentials=fields.objects(fields.hexes(where_inner, inner, "withdrawal_credentials", size=32)),
        effective_balance_gwei=np.array(fields.wholes(where_inner, inner, "effective_balance"), np.int64),
        slashed=np.array(fields.flags(where_inner, inner, "slashed"), bool),
        **columns,
        **beacon_request.standing(place, answer),
    )
