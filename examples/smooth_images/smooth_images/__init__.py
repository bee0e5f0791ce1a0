"""An example of a package of gadgets."""
