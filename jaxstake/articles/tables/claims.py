"""Tables of the micro-staking analysis: what its simulation returns, and the findings printed after it."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp

from jaxstake.articles.microstaking_analysis import KEY_FINDINGS, simulate_security_liquidity
from jaxstake.articles.tables.layout import Column, Line, Table


def simulation() -> Table:
    """What the simulation returns: three empty lists. The scores stand in for functions that are never defined."""
    found = simulate_security_liquidity(
        key=jax.random.key(0),
        mu=math.log(32.0),
        sigma=1.0,
        calculate_security=jnp.mean,
        calculate_liquidity=jnp.max,
    )
    return Table(
        name="simulation",
        section="3.1",
        title="What simulate_security_liquidity returns",
        lines=[Line("n_simulations", "Stakes drawn: {:,}", found.stake_distribution.size)],
        columns=[Column("result", "Result", 20), Column("values", "Values in it", 14)],
        rule=37,
        rows=[{"result": name, "values": values.size} for name, values in found.results.items()],
    )


def key_findings() -> Table:
    """The changes that the document claims; no printed calculation yields them."""
    return Table(
        name="key-findings",
        section="3.2",
        title="Key findings",
        columns=[Column("change", "Change", 8, ">+8.0%"), Column("printed", "As printed", 60)],
        rule=71,
        rows=[{"name": row.name, "change": row.change, "printed": row.printed} for row in KEY_FINDINGS],
    )
