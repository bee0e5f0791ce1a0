"""R11: acquisitions that contradict their header, their data or each other: an error that names it, or an image."""

from __future__ import annotations

import numpy as np
import pytest

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgets.mri_core.accumulator import AccumulatorGadget
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.asymmetric_echo_adjust_ro import AsymmetricEchoAdjustROGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from gadgets.mri_core.coil_reduction import CoilReductionGadget
from gadgets.mri_core.extract import ExtractGadget
from gadgets.mri_core.fft import FFTGadget
from gadgets.mri_core.image_array_split import ImageArraySplitGadget
from gadgets.mri_core.noise_adjust import NoiseAdjustGadget
from gadgets.mri_core.pca_coil import PCACoilGadget
from gadgets.mri_core.remove_ro_oversampling import RemoveROOversamplingGadget
from gadgets.mri_core.simple_recon import SimpleReconGadget
from tests.gadgets.support import PARALLEL, acquisition, complex_noise, header_xml, objects, run, scan

COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
FIELDS = (
    "number_of_samples",
    "active_channels",
    "available_channels",
    "center_sample",
    "discard_pre",
    "discard_post",
    "encoding_space_ref",
    "trajectory_dimensions",
)
HEADERS = {
    "full": header_xml((16, 8, 1), recon=(8, 8, 1)),
    "accelerated": header_xml((16, 8, 2), recon=(8, 8, 2), parallel=PARALLEL.format(mode="separate")),
    "radial": header_xml((16, 8, 1), trajectory="radial"),
    "no limits": header_xml((16, 8, 1), limits={}),
}
CHAINS = {
    "default": lambda: [
        RemoveROOversamplingGadget(),
        AcquisitionAccumulateTriggerGadget(trigger_dimension="repetition", sorting_dimension="slice"),
        BucketToBufferGadget(split_slices=True),
        SimpleReconGadget(),
        ImageArraySplitGadget(),
        ExtractGadget(),
    ],
    "optimized": lambda: [
        NoiseAdjustGadget(),
        PCACoilGadget(),
        CoilReductionGadget(coils_out=2),
        AsymmetricEchoAdjustROGadget(),
        RemoveROOversamplingGadget(),
        AcquisitionAccumulateTriggerGadget(),
        BucketToBufferGadget(N_dimension="phase", S_dimension="segment"),
        FFTGadget(),
    ],
    "seed": lambda: [AccumulatorGadget(), FFTGadget(), ExtractGadget()],
}


NAMES = (*FIELDS, *COUNTERS, "trajectory", "data", "bytes")


def outcome(chain, header, messages):
    """Give the typed error of a reconstruction, or None; any other error is the test's failure."""
    try:
        run(CHAINS[chain](), messages, HEADERS[header])
    except (MalformedMessageError, LimitExceeded) as error:
        return error
    return None


def names_something(error):
    return error is None or any(name in str(error) for name in NAMES)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("field", [*FIELDS, *COUNTERS, "flags"])
def test_any_field_at_any_value_is_an_image_or_a_typed_error(chain, header, field, rng):
    values = [1 << bit for bit in range(0, 64, 7)] if field == "flags" else [1, 255, 65535]
    for value in values:
        for position in (0, 3, 7):
            messages = scan(complex_noise(rng, 3, 1, 8, 16))
            head = objects(messages[position])[0]
            setattr(head.idx if field in COUNTERS else head, field, value)
            assert names_something(outcome(chain, header, messages))


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    "shape", [(3, 16), (1, 16), (4, 16), (3, 15), (3, 64), (3, 1), (3, 0), (0, 16), (0, 0)], ids=str
)
def test_a_line_of_any_shape_is_an_image_or_a_typed_error(chain, shape, rng):
    for position in (0, 4, 8):
        messages = scan(complex_noise(rng, 3, 1, 8, 16))
        messages.insert(position, acquisition(complex_noise(rng, *shape), kspace_encode_step_1=2))
        assert names_something(outcome(chain, "full", messages))


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize(
    "block", [None, np.zeros((3, 2), np.float32), np.zeros(0, np.float32)], ids=["none", "3x2", "0"]
)
def test_a_trajectory_that_is_promised_and_missing(chain, block, rng):
    message = acquisition(complex_noise(rng, 3, 16), trajectory=np.zeros((16, 2), np.float32))
    if block is None:
        message.cont.cont = None
    else:
        message.cont.cont.object = block
    error = outcome(chain, "full", [message])
    assert (error is None) == (chain == "seed")  # the accumulator has no use for a trajectory
    assert error is None or "trajectory" in str(error)
