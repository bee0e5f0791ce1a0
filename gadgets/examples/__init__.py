"""Small gadgets, branches and merges that show how such things are written."""
