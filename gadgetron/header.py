"""The ISMRMRD XML header in one call: the counterpart of the C++ Gadgetron's `parseIsmrmrdXMLHeader`.

`parse_ismrmrd_header(xml)` gives an `IsmrmrdHeader`, a tree of frozen dataclasses. Names are those of the schema, so
`header.encoding[0].encodedSpace.matrixSize.x` reads as in C++. A section or a value that is absent is None, one that
may be repeated is a tuple. What a gadget could trip over is checked here once: sizes fit the 16-bit fields they end
up in, and numbers are finite. The classes below are all the parser knows (see header_parser): a field's type says how
it is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from gadgetron.errors import MalformedMessageError
from gadgetron.header_parser import Count, Length, Long, LowerCase, Size, read_element
from gadgetron.limits import LIMITS

__all__ = ["IsmrmrdHeader", "parse_ismrmrd_header"]


@dataclass(frozen=True, slots=True)
class MatrixSize:
    """Number of points along x (readout), y (phase encoding) and z (partition encoding), each 1 to 65535."""

    x: Size
    y: Size
    z: Size


@dataclass(frozen=True, slots=True)
class FieldOfView:
    """Edge lengths along x (readout), y (phase encoding) and z (partition encoding) [mm]."""

    x: Length
    y: Length
    z: Length


@dataclass(frozen=True, slots=True)
class Position:
    """A place along x, y, z [mm]."""

    x: float
    y: float
    z: float


@dataclass(frozen=True, slots=True)
class EncodingSpace:
    """Matrix and field of view, as encoded or as wanted in the image."""

    matrixSize: MatrixSize
    fieldOfView_mm: FieldOfView


@dataclass(frozen=True, slots=True)
class Limit:
    """Range of an encoding counter, both ends included, and the value that is k-space center."""

    minimum: Count
    maximum: Count
    center: Count

    def __post_init__(self) -> None:
        if self.maximum < self.minimum:
            raise MalformedMessageError(f"maximum ({self.maximum}) is less than minimum ({self.minimum})")

    @property
    def size(self) -> int:
        """Number of values from minimum to maximum."""
        return self.maximum - self.minimum + 1


@dataclass(frozen=True, slots=True)
class EncodingLimits:
    """Ranges of the encoding counters; None where the header says nothing."""

    kspace_encoding_step_0: Limit | None = None
    kspace_encoding_step_1: Limit | None = None
    kspace_encoding_step_2: Limit | None = None
    average: Limit | None = None
    slice: Limit | None = None
    contrast: Limit | None = None
    phase: Limit | None = None
    repetition: Limit | None = None
    set: Limit | None = None
    segment: Limit | None = None
    user_0: Limit | None = None
    user_1: Limit | None = None
    user_2: Limit | None = None
    user_3: Limit | None = None
    user_4: Limit | None = None
    user_5: Limit | None = None
    user_6: Limit | None = None
    user_7: Limit | None = None


@dataclass(frozen=True, slots=True)
class AccelerationFactor:
    """Undersampling along the two phase encoding directions."""

    kspace_encoding_step_1: Size
    kspace_encoding_step_2: Size


@dataclass(frozen=True, slots=True)
class ParallelImaging:
    """How the scan was accelerated, and where its calibration lines are."""

    accelerationFactor: AccelerationFactor
    calibrationMode: LowerCase | None = None
    interleavingDimension: str | None = None


@dataclass(frozen=True, slots=True)
class UserParameterLong:
    """A named integer that the schema does not know."""

    name: str
    value: Long


@dataclass(frozen=True, slots=True)
class UserParameterDouble:
    """A named number that the schema does not know."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class UserParameterString:
    """A named text that the schema does not know; base64 data is not decoded."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UserParameters:
    """The user parameters of a header, a trajectory or a waveform, by type."""

    userParameterLong: tuple[UserParameterLong, ...] = ()
    userParameterDouble: tuple[UserParameterDouble, ...] = ()
    userParameterString: tuple[UserParameterString, ...] = ()
    userParameterBase64: tuple[UserParameterString, ...] = ()

    def find(self, name: str) -> int | float | str | None:
        """Give the value of the first parameter of this name, of whatever type, or None."""
        parameters: tuple[UserParameterLong | UserParameterDouble | UserParameterString, ...] = (
            *self.userParameterLong,
            *self.userParameterDouble,
            *self.userParameterString,
            *self.userParameterBase64,
        )
        return next((parameter.value for parameter in parameters if parameter.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrajectoryDescription(UserParameters):
    """What a trajectory is called, and the parameters that generate it."""

    identifier: str
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """One encoding space: `encoding_space_ref` of an acquisition is an index into these."""

    encodedSpace: EncodingSpace
    reconSpace: EncodingSpace
    trajectory: LowerCase
    encodingLimits: EncodingLimits = EncodingLimits()
    trajectoryDescription: TrajectoryDescription | None = None
    parallelImaging: ParallelImaging | None = None
    echoTrainLength: Long | None = None

    @property
    def is_cartesian(self) -> bool:
        """Tell whether lines lie on the grid: `cartesian` or `epi`."""
        return self.trajectory in ("cartesian", "epi")


@dataclass(frozen=True, slots=True)
class SubjectInformation:
    """Who was measured. Patient data: never logged above DEBUG."""

    patientName: str | None = None
    patientWeight_kg: float | None = None
    patientHeight_m: float | None = None
    patientID: str | None = None
    patientBirthdate: str | None = None
    patientGender: str | None = None


@dataclass(frozen=True, slots=True)
class StudyInformation:
    """What the measurement belongs to."""

    studyDate: str | None = None
    studyTime: str | None = None
    studyID: str | None = None
    accessionNumber: str | None = None
    referringPhysicianName: str | None = None
    studyDescription: str | None = None
    studyInstanceUID: str | None = None
    bodyPartExamined: str | None = None


@dataclass(frozen=True, slots=True)
class MeasurementDependency:
    """Another measurement that this one needs: `dependencyType` is for example "Noise"."""

    dependencyType: str
    measurementID: str


@dataclass(frozen=True, slots=True)
class ReferencedImageSequence:
    """Images that this measurement refers to."""

    referencedSOPInstanceUID: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeasurementInformation:
    """Identity of the measurement."""

    measurementID: str | None = None
    seriesDate: str | None = None
    seriesTime: str | None = None
    patientPosition: str | None = None
    relativeTablePosition: Position | None = None
    initialSeriesNumber: Long | None = None
    protocolName: str | None = None
    sequenceName: str | None = None
    seriesDescription: str | None = None
    measurementDependency: tuple[MeasurementDependency, ...] = ()
    seriesInstanceUIDRoot: str | None = None
    frameOfReferenceUID: str | None = None
    referencedImageSequence: ReferencedImageSequence | None = None


@dataclass(frozen=True, slots=True)
class CoilLabel:
    """Name of a receive channel."""

    coilNumber: Count
    coilName: str


@dataclass(frozen=True, slots=True)
class AcquisitionSystemInformation:
    """The scanner."""

    systemVendor: str | None = None
    systemModel: str | None = None
    systemFieldStrength_T: float | None = None
    relativeReceiverNoiseBandwidth: float | None = None
    receiverChannels: Count | None = None
    coilLabel: tuple[CoilLabel, ...] = ()
    institutionName: str | None = None
    stationName: str | None = None
    deviceID: str | None = None
    deviceSerialNumber: str | None = None


@dataclass(frozen=True, slots=True)
class ExperimentalConditions:
    """Proton resonance frequency [Hz]."""

    H1resonanceFrequency_Hz: Long


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """Timing and angles, one value for each contrast; times in milliseconds by convention of the schema."""

    TR: tuple[float, ...] = ()
    TE: tuple[float, ...] = ()
    TI: tuple[float, ...] = ()
    flipAngle_deg: tuple[float, ...] = ()
    sequence_type: str | None = None
    echo_spacing: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class WaveformInformation:
    """Name, type and parameters of a physiological waveform."""

    waveformName: str
    waveformType: str | None = None
    userParameters: UserParameters | None = None


@dataclass(frozen=True, slots=True)
class IsmrmrdHeader:
    """An ISMRMRD header. `encoding` has at least one element."""

    encoding: tuple[Encoding, ...]
    version: Long | None = None
    subjectInformation: SubjectInformation | None = None
    studyInformation: StudyInformation | None = None
    measurementInformation: MeasurementInformation | None = None
    acquisitionSystemInformation: AcquisitionSystemInformation | None = None
    experimentalConditions: ExperimentalConditions | None = None
    sequenceParameters: SequenceParameters | None = None
    userParameters: UserParameters | None = None
    waveformInformation: tuple[WaveformInformation, ...] = ()

    def __post_init__(self) -> None:
        if not self.encoding:
            raise MalformedMessageError("encoding is missing, at least one is needed")

    def encoding_space(self, encoding_space_ref: int) -> Encoding:
        """Give the encoding that an acquisition refers to.

        Raises
        ------
        MalformedMessageError
            If the header has no such encoding.
        """
        if encoding_space_ref >= len(self.encoding):
            raise MalformedMessageError(
                f"encoding_space_ref ({encoding_space_ref}): the header has {len(self.encoding)} encoding(s)"
            )
        return self.encoding[encoding_space_ref]


def parse_ismrmrd_header(xml: bytes | str) -> IsmrmrdHeader:
    """Parse an ISMRMRD XML header.

    Parameters
    ----------
    xml
        The document; NUL characters at its end are ignored, as clients written in C count them in. Element order and
        namespace do not matter, unknown elements are skipped. The old `sequenceTiming` is read as `sequenceParameters`.

    Returns
    -------
        The header. It cannot be changed and may be shared between threads.

    Raises
    ------
    MalformedMessageError
        If it is not XML, has a DOCTYPE, is no `ismrmrdHeader`, lacks an encoding, or has a value that is not of its
        type or out of range; the message names the element and the value.
    LimitExceeded
        If the document is too long, too deep, or has too many elements.
    """
    from gadgetron.configuration.xml_safe import parse_xml  # most of the server never needs an XML header

    data = (xml.encode() if isinstance(xml, str) else bytes(xml)).rstrip(b"\0")
    root = parse_xml(data, max_bytes=LIMITS.max_header_bytes, what="ISMRMRD header", error=MalformedMessageError)
    return read_element(root, IsmrmrdHeader, "ismrmrdHeader", aliases={"sequenceTiming": "sequenceParameters"})
