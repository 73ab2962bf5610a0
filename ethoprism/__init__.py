"""Frozen VideoPrism tokens, labels, probes and per-frame predictions for recordings of behaviour."""

__version__ = "0.1.0"
