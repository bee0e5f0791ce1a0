"""Whether the noise that a chain whitens with will be there."""

from __future__ import annotations

import numpy as np

from gadgetron.configuration.validate import ValidationReport
from gadgetron.noise_storage import dependency_id
from gadgetron.preflight.chain import Chain
from gadgetron.preflight.scan import Scan

ADJUSTERS = ("NoiseAdjustGadget", "NoiseAdjustGadget_unoptimized")
IN_UNITS_OF_NOISE = ("GenericReconNoiseStdMapComputingGadget",)


def check_noise(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    """Check noise readouts and dependencies."""
    if not chain.has(*ADJUSTERS) or chain.value("NoiseAdjustGadget", "perform_noise_adjust") is False:
        return
    needed = dependency_id(scan.header)
    if scan.is_noise.any():
        _check_noise_readouts(chain, scan, report)
    elif needed is not None:
        report.notices.append(
            f"the header depends on the noise measurement {needed[:128]}: the server must have it — gt_query lists "
            f"what it has, default_measurement_dependencies.xml stores one"
        )
    else:
        report.warnings.append(
            "no noise scan: neither noise readouts, nor a measurementDependency of type Noise in the header — channels "
            "are not whitened, and images are in arbitrary units"
        )
        if chain.has(*IN_UNITS_OF_NOISE) or chain.value("GenericReconCartesianGrappaGadget", "send_out_snr_map"):
            report.warnings.append("SNR maps and noise maps mean nothing without a noise scan")


def _check_noise_readouts(chain: Chain, scan: Scan, report: ValidationReport) -> None:
    heads, is_noise = scan.heads, scan.is_noise
    used = scan.is_imaging | scan.is_calibration
    noise_channels = np.unique(np.asarray(heads["active_channels"])[is_noise])
    channels = np.unique(np.asarray(heads["active_channels"])[used])
    if noise_channels.size > 1:
        report.errors.append(f"active_channels changes between noise readouts: {noise_channels[:4].tolist()}")
    elif channels.size and noise_channels[0] != channels.max():
        text = f"noise readouts have {noise_channels[0]} channels, imaging readouts {channels.max()}"
        if chain.value("NoiseAdjustGadget", "pass_nonconformant_data") is False:
            report.errors.append(f"{text}, and pass_nonconformant_data is false")
        else:
            report.warnings.append(f"{text}: they will not be whitened")
    n_samples = int(np.asarray(heads["number_of_samples"], np.int64)[is_noise].sum())
    if n_samples <= int(noise_channels.max()):
        report.warnings.append(
            f"{n_samples} noise samples are too few for {noise_channels.max()} channels: the noise will not be used"
        )
    if scan.n_noise_sampled and scan.n_noise_silent == scan.n_noise_sampled:
        report.warnings.append(
            "all samples of the noise readouts are zero: channels cannot be whitened, and units of noise mean nothing"
        )
    if scan.n_noise_not_finite:
        report.warnings.append(
            f"{scan.n_noise_not_finite} of {scan.n_noise_sampled} noise readouts have samples that are not finite: "
            "they will be left out"
        )
    if used.any() and np.flatnonzero(is_noise)[0] > np.flatnonzero(used)[0]:
        report.warnings.append("the noise readouts come after the first imaging readout: they will not be used")
    if not (np.asarray(heads["sample_time_us"])[is_noise] > 0).all():
        report.notices.append("noise readouts have no sample_time_us: their bandwidth is taken for the images' own")
