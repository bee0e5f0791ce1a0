"""The old name of the padding of asymmetric echoes."""

from __future__ import annotations

from gadgets.mri_core.asymmetric_echo_adjust_ro import AsymmetricEchoAdjustROGadget


class PartialFourierAdjustROGadget(AsymmetricEchoAdjustROGadget):
    """Extend readouts whose echo is not in the middle to the encoded matrix: AsymmetricEchoAdjustROGadget's old name.

    The class of this name in the C++ Gadgetron leaves center_sample where it was, so that later gadgets misplace the
    readout.
    """
