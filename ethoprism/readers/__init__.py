"""Readers of recordings, one module each; see `ethoprism.frame_source.Reader`."""
