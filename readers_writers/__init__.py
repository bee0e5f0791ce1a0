"""Readers and writers: one kind of message per module, its reader and its writer side by side.

A reader turns the bytes behind a message id into a message; a writer turns a message into bytes, its id first. They are
loaded by name, from a configuration or by a client, like gadgets.
"""
