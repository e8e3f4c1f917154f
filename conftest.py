"""Settings of the suite: double precision unless JAXSTAKE_TEST_X64=0, and strict promotion of ranks and dtypes."""

from __future__ import annotations

import os

import jax

X64 = os.environ.get("JAXSTAKE_TEST_X64", "1") != "0"

jax.config.update("jax_enable_x64", X64)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")
