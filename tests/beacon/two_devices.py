"""A simulation on one device and on two that share its validators; prints what differs. Run in a process of its own."""

from __future__ import annotations

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxstake.beacon import rules, simulation
from jaxstake.beacon.behaviour import Behaviour, Deposits, Event, Merge, Offline
from tests.beacon.networks import ETH, network

ROWS, EPOCHS, KEY_SEED = 512, 14, 3


def values(key, shape):
    return jnp.exp(jax.random.normal(key, shape) - 3.0)


def eventful(fork):
    """Outages, a cohort offline, slashings, exits and, from Electra, deposits and merges."""
    later = {
        "deposits": (Deposits(from_epoch=1, to_epoch=9, amount=32 * ETH, per_epoch=2),),
        "merges": (Merge(first=400, count=16, from_epoch=1, per_epoch=2, group=4),),
    }
    return Behaviour(
        source=0.99,
        target=np.linspace(0.5, 0.95, ROWS),
        head=0.5,
        sync=0.9,
        proposal=0.9,
        group=np.arange(ROWS) % 4,
        outage_chance=np.full(4, 0.1),
        recovery_chance=np.full(4, 0.3),
        offline=(Offline(first=10, count=200, from_epoch=3, to_epoch=8),),
        slashings=(Event(first=300, count=6, from_epoch=2, per_epoch=2),),
        exits=(Event(first=320, count=8, from_epoch=1, per_epoch=2),),
        **(later if rules.has_balance_queues(rules.get(fork)) else {}),
    )


def main(fork):
    r, state = network(fork, ROWS - 20, capacity=ROWS)
    key, behaviour = jax.random.key(KEY_SEED), eventful(fork)
    start = simulation.begin(r, state, behaviour, key=key)
    mesh = Mesh(np.array(jax.devices()), ("validators",))

    def spread(array):
        split = np.shape(array)[:1] == (ROWS,)
        return jax.device_put(array, NamedSharding(mesh, PartitionSpec(*["validators"] * split)))

    asked = {"n_epochs": EPOCHS, "key": key, "record_every": 5, "sample_block_value": values, "traced": (3, 300)}
    alone = simulation.simulate(r, start, behaviour, **asked)
    shared = simulation.simulate(
        r, jax.tree.map(spread, start), jax.tree.map(lambda x: spread(jnp.asarray(x)), behaviour), **asked
    )
    different, compared = {}, 0
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(alone), jax.tree.leaves(shared), strict=True):
        compared += 1
        if not np.array_equal(one, two, equal_nan=True):
            gap = np.max(np.abs(np.asarray(one, float) - np.asarray(two, float)) / np.abs(np.asarray(one, float)))
            exact = not np.issubdtype(np.asarray(one).dtype, np.floating)
            different[jax.tree_util.keystr(path)] = float("inf") if exact else float(gap)
    of_rows = [x for x in jax.tree.leaves(shared[0]) if np.shape(x)[:1] == (ROWS,)]
    print(
        json.dumps(
            {
                "devices": jax.device_count(),
                "compared": compared,
                "different": different,
                "rows_of_each_shard": sorted({s.data.shape[0] for x in of_rows for s in x.addressable_shards}),
                "arrays_of_rows": len(of_rows),
                "slashed": int(np.sum(np.asarray(shared[0].state.slashed))),
                "validators": int(shared[0].state.n_validators),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1])
