"""The gadgets of everyday reconstruction. Modules are imported by name, from configurations."""
