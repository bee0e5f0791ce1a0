"""The External node: a part of the chain that runs in another process, in any language."""
