"""What the APR guide states without a formula that yields it, and the sample numbers that several places need."""

from __future__ import annotations

CONTRIBUTIONS = (0x1234567890ABCDEF, 0xFEDCBA0987654321, 0x1111111111111111, 0x2222222222222222)
"""Section 1.2: the four sample numbers of the RANDAO."""

MEV_PER_BLOCK_ETH = 0.05
"""Section 4.1, docstring of `expected_mev_per_block`: the average MEV of a block in 2024 and 2025 is about 0.05 ETH."""

VARIABLE_SHARE = (0.20, 0.30)
"""Conclusion, second finding: MEV and tips are about 20 to 30 % of all income."""

RISK_DISCOUNT = (0.01, 0.05)
"""Conclusion, third finding: after slashing and downtime the rate may be 1 to 5 % lower than the nominal one."""

EXIT_HOURS = 27.0
"""Section 6.2, docstring and comment: the exit takes about 27 hours."""

SECONDS_PER_EPOCH = 27.0
"""Section 6.2, comment: "assuming 27 seconds an epoch"."""

YEARLY_INCOME_ETH = 2.0
"""Section 6.2, comment: a balance of "32 staked and 2 of yearly income"."""

LEAK_THRESHOLD_EPOCHS = 4.0
"""Section 3.1, comment: the leak starts after more than 4 epochs without finality."""

SYNC_PERIODS_PER_EPOCH = 1.0
"""Section 2.2, docstring: every epoch 512 validators are chosen for the sync committee."""

UNIFORM_WITH_ONE_HONEST = True
"""Section 1.2: with one honest validator the final output is uniformly random."""
