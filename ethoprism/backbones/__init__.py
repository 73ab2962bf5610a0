"""Frozen encoders: one module a family, found through the entry points ``ethoprism.backbones``."""
