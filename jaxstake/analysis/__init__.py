"""Beside the models: transforms that take a model as an argument. Imports `core` only and knows no Ethereum."""

from jaxstake.analysis import calibrate, sensitivity, sweep

__all__ = ["calibrate", "sensitivity", "sweep"]
