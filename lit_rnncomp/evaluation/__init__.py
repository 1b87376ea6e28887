"""Metrics, rate-distortion mathematics, classical codecs as baselines, the `evaluate` command and its report."""
