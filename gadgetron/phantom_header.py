"""The ISMRMRD header of a simulated scan."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

from ismrmrd import xsd

if TYPE_CHECKING:
    from gadgetron.phantom import PhantomOptions


def make_phantom_header(options: PhantomOptions) -> bytes:
    """Describe a simulated scan: spaces, limits of every counter, acceleration, system.

    Parameters
    ----------
    options
        What is simulated. The same options give the same header, measurement id included.
    """
    header = xsd.ismrmrdHeader(
        version=1,
        subjectInformation=xsd.subjectInformationType(patientID="SheppLoganPhantom"),
        measurementInformation=xsd.measurementInformationType(
            measurementID=str(uuid5(NAMESPACE_OID, repr(options))),
            patientPosition=xsd.patientPositionType.HFS,
            protocolName=f"Shepp-Logan {options.trajectory}",
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="Gadgetron",
            systemModel="Phantom",
            systemFieldStrength_T=1.5,
            relativeReceiverNoiseBandwidth=1.0,
            receiverChannels=options.n_coils,
            coilLabel=[
                xsd.coilLabelType(coilNumber=number, coilName=f"Circle:{number}") for number in range(options.n_coils)
            ],
            institutionName="Simulated",
        ),
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=63_870_000),
        encoding=[_encoding(options)],
        sequenceParameters=_sequence(options),
    )
    xml: str = xsd.ToXML(header)
    return xml.encode()


def _encoding(options: PhantomOptions) -> xsd.encodingType:
    n_z = options.n_partitions
    recon = (options.matrix, options.n_y, n_z)
    pixel_mm = options.field_of_view_mm / options.matrix
    # A spoke crosses the field of view in any direction: there is no axis that is encoded wider than the others.
    widening = 1 if options.is_radial else options.oversampling
    return xsd.encodingType(
        encodedSpace=_space((widening * recon[0], *recon[1:]), pixel_mm, options.slice_thickness_mm),
        reconSpace=_space(recon, pixel_mm, options.slice_thickness_mm),
        encodingLimits=xsd.encodingLimitsType(
            kspace_encoding_step_0=_limit(options.n_samples, options.n_samples // 2),
            kspace_encoding_step_1=_limit(options.n_lines, 0 if options.is_radial else options.n_lines // 2),
            kspace_encoding_step_2=_limit(n_z, n_z // 2),
            average=_limit(1),
            slice=_limit(options.n_slices),
            contrast=_limit(options.n_contrasts),
            phase=_limit(1),
            repetition=_limit(options.n_repetitions),
            set=_limit(1),
            segment=_limit(1),
        ),
        trajectory=xsd.trajectoryType(options.trajectory),
        parallelImaging=_parallel_imaging(options),
    )


def _space(matrix: tuple[int, int, int], pixel_mm: float, thickness_mm: float) -> xsd.encodingSpaceType:
    x, y, z = matrix
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=x, y=y, z=z),
        fieldOfView_mm=xsd.fieldOfViewMm(x=x * pixel_mm, y=y * pixel_mm, z=z * thickness_mm),
    )


def _limit(n_values: int, center: int = 0) -> xsd.limitType:
    return xsd.limitType(minimum=0, maximum=n_values - 1, center=center)


def _parallel_imaging(options: PhantomOptions) -> xsd.parallelImagingType:
    kind = xsd.calibrationModeType
    mode = kind.EMBEDDED if options.calibration_width else kind.INTERLEAVED if options.acceleration > 1 else kind.OTHER
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=options.acceleration, kspace_encoding_step_2=1
        ),
        calibrationMode=mode,
    )


def _sequence(options: PhantomOptions) -> xsd.sequenceParametersType:
    from gadgetron.phantom import echo_time_ms

    return xsd.sequenceParametersType(
        TR=[10.0],
        TE=[echo_time_ms(contrast) for contrast in range(options.n_contrasts)],
        flipAngle_deg=[15.0],
        sequence_type="Flash",
    )
