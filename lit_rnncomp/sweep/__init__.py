"""Sweeps without a server: the YAML of a Weights & Biases sweep, Optuna as the engine, one process a trial.

A package beside `training` and not in it, because importing `training` loads Lightning, which nothing here needs.
"""
