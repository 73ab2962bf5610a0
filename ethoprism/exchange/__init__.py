"""Formats to read labels from and to write them to: one module each, found by entry point."""
