"""Bytes to messages and back: message ids, framing, limits."""
