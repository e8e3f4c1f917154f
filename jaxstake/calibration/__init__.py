"""Floor 3: joins the loss of a model with `analysis.calibrate.fit`: the minimum stake, the queue, the scores.

Imported by module, since they load optax: `from jaxstake.calibration import min_stake`.
"""
