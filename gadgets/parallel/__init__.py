"""Branches and merges of everyday use."""
