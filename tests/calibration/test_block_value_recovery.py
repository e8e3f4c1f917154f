"""Known parameters are found again: 95 % intervals over a thousand synthetic sets of 5,000 payments of each family."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxstake.analysis import calibrate
from jaxstake.calibration.block_value import loss
from jaxstake.calibration.block_value_families import FAMILIES
from jaxstake.calibration.block_value_sample import prepare
from jaxstake.core import leaves
from jaxstake.economy import block_value
from jaxstake.economy.block_value import LogNormal, LogNormalMixture, LogNormalPareto, SkewLogNormal

pytestmark = pytest.mark.usefixtures("only_x64")

SETS, PAYMENTS = 1_000, 5_000
TRUTHS = {
    "lognormal": LogNormal(log_mean=-2.8, log_std=0.9),
    "lognormal_mixture": LogNormalMixture(
        first_log_mean=-3.3, first_log_std=0.5, second_log_mean=-1.0, second_log_std=0.8, second_share=0.25
    ),
    "skew_lognormal": SkewLogNormal(log_location=-3.6, log_scale=1.2, log_shape=2.5),
    "lognormal_pareto": LogNormalPareto(
        log_mean=-3.0, log_std=0.7, threshold_eth=0.12, tail_share=0.1, tail_scale_eth=0.1, tail_shape=0.4
    ),
}


def fits(name: str, truth: Any, *, seed: int) -> Any:
    """Fit of every set from the family's own start, which is worked out on the first payments of the first set."""
    drawn = jax.jit(lambda key: block_value.sample(truth, key=key, shape=(SETS, PAYMENTS)))(jax.random.key(seed))
    family = FAMILIES[name]
    first = prepare(np.asarray(drawn[0]), weights=None, censoring=None)
    start = family.start(first, getattr(truth, "threshold_eth", None))
    values, domains = leaves.as_dict(start), leaves.domains(start)
    initial = {name: jnp.asarray(values[name], float) for name in family.free}
    template = jax.tree.map(lambda x: jnp.asarray(x, float), start)

    def one(payments: jax.Array) -> Any:
        found = calibrate.solve(
            loss,
            initial,
            template,
            payments,
            None,
            None,
            key=jax.random.key(0),
            domains=tuple(domains[name] for name in sorted(initial)),
            tolerance=1e-6,
            optimizer="newton",
            restarts=1,
            spread=0.0,
            observations=float(PAYMENTS),
        )
        return found.parameters, found.standard_errors, found.converged

    with jax.numpy_dtype_promotion("standard"):
        return jax.jit(lambda sets: jax.lax.map(one, sets, batch_size=10))(drawn)


@pytest.mark.parametrize("name", TRUTHS)
def test_intervals_cover_the_truth(name: str) -> None:
    truth = TRUTHS[name]
    parameters, errors, converged = fits(name, truth, seed=11)
    assert np.all(converged)
    for leaf in FAMILIES[name].free:
        gap = np.asarray(parameters[leaf]) - getattr(truth, leaf)
        covered = np.mean(np.abs(gap) <= 1.96 * np.asarray(errors[leaf]))
        assert 0.925 <= covered <= 0.975, f"{leaf} covers {covered:.3f}"
