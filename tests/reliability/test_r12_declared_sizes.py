"""R12: a header that declares sizes beyond all memory is refused before buffers are made."""

from __future__ import annotations

import tracemalloc

import pytest

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgets.mri_core.accumulator import AccumulatorGadget
from gadgets.mri_core.acquisition_accumulate_trigger import AcquisitionAccumulateTriggerGadget
from gadgets.mri_core.bucket_to_buffer import BucketToBufferGadget
from tests.gadgets.support import acquisition, complex_noise, header_xml, objects, run

MAX_PEAK_BYTES = 8 * 1024 * 1024
CHAINS = {
    "buffer": lambda: [AcquisitionAccumulateTriggerGadget(), BucketToBufferGadget()],
    "slices": lambda: [
        AcquisitionAccumulateTriggerGadget(),
        BucketToBufferGadget(N_dimension="slice", S_dimension="set"),
    ],
    "accumulator": lambda: [AccumulatorGadget()],
}


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("trajectory", ["cartesian", "radial"])
def test_buffers_of_65535_cubed_are_refused(chain, trajectory, rng):
    header = header_xml((65535, 65535, 65535), trajectory=trajectory)
    messages = [acquisition(complex_noise(rng, 2, 64)), acquisition(complex_noise(rng, 2, 64), scan_counter=1)]
    if chain == "slices":
        objects(messages[1])[0].idx.slice = 65535
    tracemalloc.start()
    try:
        with pytest.raises((LimitExceeded, MalformedMessageError)):
            run(CHAINS[chain](), messages, header)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MAX_PEAK_BYTES
