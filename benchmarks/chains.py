"""Other chains than the stock one, next to the same NumPy time; and the accelerated scan that one of them is for."""

from __future__ import annotations

import struct
from statistics import median

import ismrmrd
import numpy as np

from benchmarks.measures import Plan, Row, check_count, progress
from benchmarks.processes import Daemon, Peer, accelerated_client_main
from benchmarks.workload import ACQUISITION_ID, HEADER_XML, MATRIX, N_SAMPLES

GENERIC = "Generic_Cartesian_Grappa.xml"
OPTIMIZED = "default_optimized.xml"
N_COILS = 8
N_REPETITIONS = 8
ACCELERATION = 2
CALIBRATION_LINES = 24
MODE_XML = """<parallelImaging>
      <accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>
        <kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
      <calibrationMode>embedded</calibrationMode>
    </parallelImaging>
  </encoding>"""


def accelerated_header() -> bytes:
    """Give the header of an accelerated scan with calibration lines inside."""
    text = HEADER_XML.format(
        coils=N_COILS,
        samples=N_SAMPLES,
        matrix=MATRIX,
        last_line=MATRIX - 1,
        center=MATRIX // 2,
        last_repetition=N_REPETITIONS - 1,
    )
    return text.replace("</encoding>", MODE_XML).encode()


def accelerated_acquisitions() -> bytearray:
    """Give one noise readout, and every second line with 24 calibration lines of 8 repetitions, as messages."""
    rng = np.random.default_rng(21)
    first = (MATRIX - CALIBRATION_LINES) // 2
    calibration = range(first, first + CALIBRATION_LINES)
    lines = sorted({*range(0, MATRIX, ACCELERATION), *calibration})
    messages = bytearray()

    def add(flags: set[int], line: int = 0, repetition: int = 0) -> None:
        head = ismrmrd.AcquisitionHeader()
        head.version = 1
        head.number_of_samples = N_SAMPLES
        head.center_sample = N_SAMPLES // 2
        head.active_channels = head.available_channels = N_COILS
        head.read_dir[0] = head.phase_dir[1] = head.slice_dir[2] = 1.0
        head.sample_time_us = 5.0
        head.idx.kspace_encode_step_1, head.idx.repetition = line, repetition
        for flag in flags:
            head.set_flag(flag)
        samples = rng.standard_normal((N_COILS, 2 * N_SAMPLES), dtype=np.float32)
        messages.extend(struct.pack("<H", ACQUISITION_ID) + bytes(head) + samples.tobytes())

    add({ismrmrd.ACQ_IS_NOISE_MEASUREMENT})
    for repetition in range(N_REPETITIONS):
        for line in lines:
            flags = set()
            if line in calibration:
                is_both = line % ACCELERATION == 0
                flags.add(
                    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING if is_both else ismrmrd.ACQ_IS_PARALLEL_CALIBRATION
                )
            if line == lines[-1]:
                flags |= {ismrmrd.ACQ_LAST_IN_SLICE, ismrmrd.ACQ_LAST_IN_REPETITION}
            add(flags, line, repetition)
    return messages


def other_chains(plan: Plan, client: Peer, numpy: Peer) -> list[Row]:
    """Measure the generic chain and the one that compresses coils, then GRAPPA of an accelerated scan."""
    rows = _chain(GENERIC, GENERIC, plan, client, numpy, plan.n_repetitions, 3.0, first_goal=0.2, memory_goal=300)
    rows += _chain(OPTIMIZED, OPTIMIZED, plan, client, numpy, plan.n_repetitions, 0.8, memory_goal=300)
    with Peer(accelerated_client_main) as accelerated:
        rows += _chain("GRAPPA R = 2, 8 coils", GENERIC, plan, accelerated, numpy, N_REPETITIONS, 2.0, memory_goal=300)
    return rows


def _chain(
    name: str,
    configuration: str,
    plan: Plan,
    client: Peer,
    numpy: Peer,
    n_images: int,
    goal: float,
    *,
    first_goal: float | None = None,
    memory_goal: float,
) -> list[Row]:
    samples: dict[str, list[float]] = {"ratio": [], "first": [], "cpu": [], "session_s": [], "numpy_s": []}
    with Daemon() as daemon:
        client.ask("count", daemon.port, configuration, 1)
        for _ in range(plan.n_pairs):
            began_cpu_s = daemon.cpu_s
            outcome = client.ask("count", daemon.port, configuration, 1)
            cpu_s = daemon.cpu_s - began_cpu_s
            reference = numpy.ask(False)
            check_count(outcome, n_images)
            samples["ratio"].append(outcome.total_s / reference.total_s)
            samples["first"].append(outcome.first_s / outcome.total_s)
            samples["cpu"].append(cpu_s / reference.cpu_s)
            samples["session_s"].append(outcome.total_s)
            samples["numpy_s"].append(reference.total_s)
            progress(f"  {name} {outcome.total_s:.3f} s, NumPy {reference.total_s:.3f} s")
        peak_bytes = daemon.peak_bytes
    return [
        Row(f"{name} / NumPy", median(samples["ratio"]), goal=goal, samples=samples),
        Row(f"{name}, first image / session", median(samples["first"]), goal=first_goal),
        Row(f"{name}, processor time / NumPy", median(samples["cpu"])),
        Row(f"{name}, peak memory", peak_bytes / 1e6, "MB", memory_goal),
    ]
