"""Foreign modules of the old style that stock configurations name.

A module that the server starts finds these as top-level modules; all they need is `from gadgetron.legacy import
Gadget`, which both packages called gadgetron have.
"""
