"""What foreign modules use besides the connection: centered Fourier transforms."""

from __future__ import annotations

from gadgetron.util.cfft import cfftn, cifftn

__all__ = ["cfftn", "cifftn"]
