"""NoiseSummaryGadget: how much noise a stored measurement has."""

from __future__ import annotations

import numpy as np
import pytest
from ismrmrd import Meta

from gadgetron.gadget import CLOSE_ABORTED
from gadgetron.message import make_message
from gadgetron.noise_storage import NOISE_PREFIX, store_noise
from gadgetron.storage import Storage
from gadgetron.testing import run_gadget
from gadgetron.toolboxes.noise import NoiseCovariance
from gadgets.mri_core.noise_summary import NoiseSummaryGadget


def answer(folder, noise_file: str, messages=()) -> dict[str, object]:
    (message,) = run_gadget(NoiseSummaryGadget(noise_file=noise_file), messages, working_directory=folder)
    assert isinstance(message.object, Meta)
    return dict(message.object.items())


@pytest.mark.parametrize("name", ["1_2_3", f"{NOISE_PREFIX}_1_2_3"])
def test_the_noise_of_each_channel_is_summarized(name, tmp_path):
    noise = NoiseCovariance(np.diag([4.0, 16.0, 9.0]).astype(complex), 2.5)
    store_noise(Storage(tmp_path), NOISE_PREFIX, "1_2_3", noise, b"")
    assert answer(tmp_path, name, [make_message(1)]) == {
        "status": "success",
        "channels": 3,
        "min_sigma": 2.0,
        "max_sigma": 4.0,
        "mean_sigma": 3.0,
        "noise_dwell_time_us": 2.5,
    }


@pytest.mark.parametrize("name", ["", "1", "../1", "broken"])
def test_what_is_not_stored_has_failed(name, tmp_path):
    (tmp_path / f"{NOISE_PREFIX}_broken").write_bytes(b"x")
    assert answer(tmp_path, name) == {"status": "failed"}


def test_a_failed_session_gets_no_answer():
    NoiseSummaryGadget().close(CLOSE_ABORTED)  # would fail if it put anything: there is nobody downstream
