"""The slice-wise GRAPPA chain with calibration lines that are missing or not flagged, and headers that are wrong."""

import ismrmrd
import numpy as np
import pytest

from gadgetron.nodes import Parallel
from gadgetron.testing import run_gadget
from gadgetron.toolboxes import phantom
from gadgets.grappa.acquisition_fanout import AcquisitionFanout
from gadgets.grappa.grappa_gadget import GrappaGadget, GrappaUnmixingGadget
from gadgets.grappa.image_accumulator import ImageAccumulator
from gadgets.grappa.slice_accumulator import SliceAccumulator
from gadgets.grappa.unmixing import Unmixing
from gadgets.grappa.weights_calculator import cpuWeightsCalculator
from tests.gadgets.support import (
    PARALLEL,
    acquisition,
    centred_fft,
    complex_noise,
    header_xml,
    objects,
    relative_difference,
)

N = 64
ACS = range(20, 44)
CALIBRATION, BOTH, LAST = (
    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    ismrmrd.ACQ_LAST_IN_SLICE,
)


def slice_wise():
    streams = {"images": [ImageAccumulator()], "weights": [cpuWeightsCalculator()]}
    return [SliceAccumulator(), Parallel(AcquisitionFanout(), streams, Unmixing())]


def older():
    return [GrappaGadget(), GrappaUnmixingGadget()]


CHAINS = pytest.mark.parametrize("chain", [slice_wise, older])


def header(acceleration):
    parallel = PARALLEL.format(mode="embedded").replace("1>2<", f"1>{acceleration}<")
    return header_xml((N, N, 1), parallel=parallel, limits={"kspace_encoding_step_1": (0, N - 1, N // 2)})


def scan(acceleration, missing=(), acs=ACS, *, is_flagged=True):
    magnitude = phantom.shepp_logan(N, N).reshape(N, N)
    coils = phantom.coil_sensitivities(8, 1, N, N) * magnitude
    coils = coils + 5e-4 * complex_noise(np.random.default_rng(0), *coils.shape)
    kspace = centred_fft(coils, (1, 2, 3)).astype(np.complex64)[:, 0]
    steps = sorted({*range(0, N, acceleration), *acs} - {*missing})
    messages = []
    for y in steps:
        flags = [] if y not in acs or not is_flagged else [CALIBRATION if y % acceleration else BOTH]
        messages.append(
            acquisition(
                kspace[:, y].copy(), kspace_encode_step_1=y, flags=[*flags, *([LAST] if y == steps[-1] else [])]
            )
        )
    return magnitude, messages


def outcome(chain, xml, magnitude, messages):
    """Give the error of the image, and what the client was told."""
    results = run_gadget(chain(), messages, xml)
    texts = [str(found) for result in results for found in objects(result)[:1] if not hasattr(found, "image_index")]
    (image,) = [objects(result)[1] for result in results if hasattr(objects(result)[0], "image_index")]
    found = np.abs(image[0, 0])
    return relative_difference(found * (np.vdot(found, magnitude) / np.vdot(found, found)), magnitude), texts


@CHAINS
@pytest.mark.parametrize("lost", [(31,), (32,), (29, 37), (31, 32)])
def test_a_lost_calibration_line_is_found_from_its_neighbours(chain, lost):
    complete, _ = outcome(chain, header(3), *scan(3))
    error, texts = outcome(chain, header(3), *scan(3, lost))
    assert error < complete + 0.02
    assert texts == []


@CHAINS
@pytest.mark.parametrize(("said", "acceleration"), [(1, 2), (1, 3), (2, 3), (3, 2)])
def test_the_lines_count_where_the_header_says_another_acceleration(chain, said, acceleration):
    right, _ = outcome(chain, header(acceleration), *scan(acceleration))
    error, (text,) = outcome(chain, header(said), *scan(acceleration))
    assert error == pytest.approx(right)
    header_says = "no acceleration" if said == 1 else f"acceleration {said}"
    assert f"one of {acceleration} lines was measured, and the header says {header_says}: {acceleration} is" in text


@CHAINS
def test_images_that_alias_are_announced(chain):
    _, (text,) = outcome(chain, header(1), *scan(2, acs=()))
    assert "the header says no acceleration; without calibration lines images are aliased" in text


@CHAINS
def test_calibration_lines_without_flags_are_announced(chain):
    _, (text,) = outcome(chain, header(2), *scan(2, is_flagged=False))
    assert "imaging lines 20 to 44 lie side by side, others are 2 apart" in text


@CHAINS
def test_few_calibration_lines_are_announced(chain):
    _, texts = outcome(chain, header(3), *scan(3, acs=range(27, 37)))
    assert any("calibration lines around the center of k-space are few" in text for text in texts)
