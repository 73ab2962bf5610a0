"""Frozen VideoPrism tokens, labels, probes and per-frame predictions for behaviour recordings."""

__version__ = "0.1.0"
