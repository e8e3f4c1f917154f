"""Fees of the execution layer: the base fee that is burned, the tip that is not, and the fee for blobs.

Whole numbers (`_wei`) follow the execution specifications to the last wei and need `jax_enable_x64`; floats (`_gwei`,
`_eth`) are the smooth rules, differentiable in everything.
"""

from jaxstake.economy.fees.amounts import (
    break_even_base_fee_gwei,
    burn_eth,
    burn_per_year_eth,
    effective_priority_fee_gwei,
    tips_eth,
)
from jaxstake.economy.fees.blobs import (
    BlobSchedule,
    blob_base_fee_gwei,
    blob_burn_eth,
    blob_schedule,
    calculate_blob_gas_price,
    calculate_excess_blob_gas,
    fake_exponential,
)
from jaxstake.economy.fees.demand import (
    Demand,
    base_fee_path_under_demand_gwei,
    equilibrium_base_fee_gwei,
    gas_demanded,
)
from jaxstake.economy.fees.exact import base_fee_path_wei, calculate_base_fee_per_gas
from jaxstake.economy.fees.smooth import (
    GasMarket,
    base_fee_path_gwei,
    expected_log_change,
    gas_target,
    next_base_fee_gwei,
    steady_excess_mean,
)

__all__ = [
    "BlobSchedule",
    "Demand",
    "GasMarket",
    "base_fee_path_gwei",
    "base_fee_path_under_demand_gwei",
    "base_fee_path_wei",
    "blob_base_fee_gwei",
    "blob_burn_eth",
    "blob_schedule",
    "break_even_base_fee_gwei",
    "burn_eth",
    "burn_per_year_eth",
    "calculate_base_fee_per_gas",
    "calculate_blob_gas_price",
    "calculate_excess_blob_gas",
    "effective_priority_fee_gwei",
    "equilibrium_base_fee_gwei",
    "expected_log_change",
    "fake_exponential",
    "gas_demanded",
    "gas_target",
    "next_base_fee_gwei",
    "steady_excess_mean",
    "tips_eth",
]
