"""The two source documents, their formulas exactly as printed: a record, not a model to use.

`apr_guide` is the guide to the staking APR, `microstaking_analysis` the analysis of micro-staking. What they print
often differs from the real protocol; every docstring says how, and which module is right. Sealed: nothing but the
command line, the comparison and the experiments reads it. `catalogue` knows every formula by name, `tables` reprints
the documents' tables.
"""
