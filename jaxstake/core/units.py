"""Units. Floats are ETH, years and fractions; exact integers are Gwei and epochs."""

from __future__ import annotations

GWEI_PER_ETH = 1e9
WEI_PER_ETH = 1e18
SECONDS_PER_DAY = 86_400.0
DAYS_PER_JULIAN_YEAR = 365.25
SECONDS_PER_JULIAN_YEAR = SECONDS_PER_DAY * DAYS_PER_JULIAN_YEAR
