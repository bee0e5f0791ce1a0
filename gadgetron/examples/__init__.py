"""Foreign modules to start from, each a function that takes a connection. They are integration tests, too.

The names of the functions are those of the package `gadgetron` 1.4.
"""

from __future__ import annotations

from gadgetron.examples.pass_through import pass_through
from gadgetron.examples.recon_acquisitions import recon_acquisitions
from gadgetron.examples.recon_buffers import recon_buffers

__all__ = ["pass_through", "recon_acquisitions", "recon_buffers"]
