"""The guide to the staking APR, exactly as printed.

A module for each chapter: `consensus` and `randao` (1), `rewards`, `calculator` and `sensitivity` (2), `penalties`
(3), `mev` and `tips` (4), `risk` (5), `strategy` (6). Rates are percent here, as in the document. Functions are pure,
take scalars and return what the document's code returns, outside its range too; where that code stops with an error
they return NaN. Where the document prints a formula and computes another, both are here.
"""
