"""Configurations: what an XML file says about a chain, checked before anything runs."""
