"""Gadgets for echo planar imaging."""
