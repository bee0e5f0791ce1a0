"""The version, in the one place that packaging and the programs read."""

__version__ = "5.0.0a1"
