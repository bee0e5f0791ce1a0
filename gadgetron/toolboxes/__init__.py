"""Numerics on plain arrays: no threads, no sockets, no gadgets. Usable without the server."""
