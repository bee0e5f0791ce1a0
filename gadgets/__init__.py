"""Gadgets, one per module, grouped in folders by family."""
