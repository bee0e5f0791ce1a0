import dataclasses
import threading

import pytest

from gadgetron.errors import GadgetronError, LimitExceeded, MalformedMessageError
from gadgetron.header import IsmrmrdHeader, parse_ismrmrd_header
from gadgetron.limits import LIMITS
from tests.gadgets.support import PARALLEL, header_xml
from tests.reference import reference_file

FULL = """<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <!-- a comment -->
  <version>15</version>
  <subjectInformation><patientName>phantom</patientName><patientWeight_kg>72.5748</patientWeight_kg></subjectInformation>
  <studyInformation><studyID>S1</studyID></studyInformation>
  <measurementInformation>
    <measurementID>M_1</measurementID><patientPosition>HFS</patientPosition>
    <relativeTablePosition><x>1</x><y>-2.5</y><z>3e1</z></relativeTablePosition>
    <measurementDependency><dependencyType>Noise</dependencyType><measurementID>M_0</measurementID></measurementDependency>
    <measurementDependency><dependencyType>SCC</dependencyType><measurementID>M_2</measurementID></measurementDependency>
    <referencedImageSequence><referencedSOPInstanceUID>1.2</referencedSOPInstanceUID></referencedImageSequence>
  </measurementInformation>
  <acquisitionSystemInformation>
    <systemVendor>SIEMENS</systemVendor><systemFieldStrength_T>1.494</systemFieldStrength_T>
    <relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth><receiverChannels>32</receiverChannels>
    <coilLabel><coilNumber>1</coilNumber><coilName>b</coilName></coilLabel>
    <coilLabel><coilNumber>0</coilNumber><coilName>a</coilName></coilLabel>
  </acquisitionSystemInformation>
  <experimentalConditions><H1resonanceFrequency_Hz>63620740</H1resonanceFrequency_Hz></experimentalConditions>
  <encoding>
    <trajectory>EPI</trajectory>
    <trajectoryDescription><identifier>ConventionalEPI</identifier>
      <userParameterLong><name>etl</name><value>-5</value></userParameterLong>
      <userParameterDouble><name>tsamp</name><value>1.5</value></userParameterDouble>
      <comment>hello</comment></trajectoryDescription>
    <encodedSpace><matrixSize><x>256</x><y>128</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>600</x><y>300.5</y><z>5</z></fieldOfView_mm></encodedSpace>
    <reconSpace><matrixSize><x>128</x><y>128</y><z>1</z></matrixSize>
      <fieldOfView_mm><x>300</x><y>300</y><z>5</z></fieldOfView_mm></reconSpace>
    <encodingLimits>
      <kspace_encoding_step_1><minimum>0</minimum><maximum>127</maximum><center>64</center></kspace_encoding_step_1>
      <user_7><minimum>1</minimum><maximum>2</maximum><center>1</center></user_7>
    </encodingLimits>
    <parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>
      <kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
      <calibrationMode>Embedded</calibrationMode></parallelImaging>
    <echoTrainLength>7</echoTrainLength>
    <someThingNew><a/></someThingNew>
  </encoding>
  <sequenceParameters><TR>5.86</TR><TE>2.96</TE><TE>3.9</TE><flipAngle_deg>30</flipAngle_deg></sequenceParameters>
  <userParameters>
    <userParameterString><name>s</name><value>text</value></userParameterString>
    <userParameterBase64><name>b</name><value>AAAA</value></userParameterBase64>
  </userParameters>
  <waveformInformation><waveformName>ECG</waveformName><waveformType>ecg</waveformType></waveformInformation>
</ismrmrdHeader>"""


def test_everything_is_read_under_its_own_name():
    header = parse_ismrmrd_header(FULL)
    (encoding,) = header.encoding
    assert header.version == 15
    assert (header.subjectInformation.patientName, header.subjectInformation.patientWeight_kg) == ("phantom", 72.5748)
    assert header.studyInformation.studyID == "S1"
    measurement = header.measurementInformation
    assert [(d.dependencyType, d.measurementID) for d in measurement.measurementDependency] == [
        ("Noise", "M_0"),
        ("SCC", "M_2"),
    ]
    assert dataclasses.astuple(measurement.relativeTablePosition) == (1.0, -2.5, 30.0)
    assert measurement.referencedImageSequence.referencedSOPInstanceUID == ("1.2",)
    system = header.acquisitionSystemInformation
    assert (system.receiverChannels, system.relativeReceiverNoiseBandwidth) == (32, 0.79)
    assert [(label.coilNumber, label.coilName) for label in system.coilLabel] == [(1, "b"), (0, "a")]
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 63620740
    assert dataclasses.astuple(encoding.encodedSpace) == ((256, 128, 1), (600.0, 300.5, 5.0))
    assert dataclasses.astuple(encoding.reconSpace.matrixSize) == (128, 128, 1)
    assert (encoding.trajectory, encoding.is_cartesian, encoding.echoTrainLength) == ("epi", True, 7)
    assert encoding.trajectoryDescription.find("etl") == -5
    assert encoding.trajectoryDescription.find("tsamp") == 1.5
    assert (encoding.trajectoryDescription.identifier, encoding.trajectoryDescription.comment) == (
        "ConventionalEPI",
        "hello",
    )
    assert encoding.encodingLimits.kspace_encoding_step_1.size == 128
    assert encoding.encodingLimits.user_7.maximum == 2
    assert encoding.parallelImaging.calibrationMode == "embedded"
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 2
    assert header.sequenceParameters.TE == (2.96, 3.9)
    assert header.sequenceParameters.TI == ()
    assert header.userParameters.find("s") == "text"
    assert header.userParameters.find("nothing") is None
    assert header.waveformInformation[0].waveformName == "ECG"


def test_absent_sections_are_none():
    header = parse_ismrmrd_header(header_xml(limits={}))
    for field in dataclasses.fields(IsmrmrdHeader):
        if field.name not in ("encoding", "experimentalConditions", "waveformInformation"):
            assert getattr(header, field.name) is None, field.name
    limits = header.encoding[0].encodingLimits
    assert all(getattr(limits, field.name) is None for field in dataclasses.fields(limits))
    assert header.encoding[0].parallelImaging is None


def test_encoding_limits_may_be_missing_altogether():
    xml = header_xml(limits={}).replace("<encodingLimits></encodingLimits>", "")
    assert parse_ismrmrd_header(xml).encoding[0].encodingLimits.slice is None


@pytest.mark.parametrize("tail", ["\0", "\0\0\0\0", "\n\0"])
def test_zero_terminated_headers_are_taken(tail):
    assert parse_ismrmrd_header((FULL + tail).encode()) == parse_ismrmrd_header(FULL)


def test_the_namespace_does_not_matter():
    assert parse_ismrmrd_header(FULL.replace(' xmlns="http://www.ismrm.org/ISMRMRD"', "")) == parse_ismrmrd_header(FULL)
    assert parse_ismrmrd_header(FULL.replace("http://www.ismrm.org/ISMRMRD", "urn:else")) == parse_ismrmrd_header(FULL)


def test_the_old_sequence_timing_is_read():
    xml = FULL.replace("sequenceParameters>", "sequenceTiming>")
    assert parse_ismrmrd_header(xml).sequenceParameters.TR == (5.86,)


def test_the_seeds_example_is_read():
    text = reference_file("seeds", "gadgetron-streaming-architecture.txt").read_text(encoding="utf-8")
    xml = text[text.index('<?xml version="1.0"?>') : text.index("</ismrmrdHeader>")] + "</ismrmrdHeader>"
    header = parse_ismrmrd_header(xml)
    assert header.encoding[0].encodedSpace.matrixSize.x == 256
    assert header.encoding[0].encodingLimits.slice.maximum == 0
    assert header.sequenceParameters.TE == (2.96,)


def test_a_header_cannot_be_changed_and_can_be_compared():
    header = parse_ismrmrd_header(FULL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        header.version = 3
    assert header == parse_ismrmrd_header(FULL)


def test_encoding_spaces_are_found_by_number():
    header = parse_ismrmrd_header(header_xml(n_encodings=2))
    assert header.encoding_space(1) is header.encoding[1]
    with pytest.raises(MalformedMessageError, match="encoding_space_ref \\(2\\): the header has 2"):
        header.encoding_space(2)


def test_the_largest_matrix_is_read():
    size = parse_ismrmrd_header(header_xml((65535, 65535, 65535))).encoding[0].encodedSpace.matrixSize
    assert dataclasses.astuple(size) == (65535, 65535, 65535)


BAD = {
    "matrix of 65536": ("<x>256</x>", "<x>65536</x>", "encodedSpace.matrixSize.x \\(65536\\)"),
    "negative matrix": ("<x>256</x>", "<x>-1</x>", "encodedSpace.matrixSize.x \\(-1\\)"),
    "no matrix": ("<x>256</x>", "<x>0</x>", "encodedSpace.matrixSize.x \\(0\\)"),
    "huge matrix": ("<x>256</x>", f"<x>{'9' * 4000}</x>", "encodedSpace.matrixSize.x"),
    "matrix with a point": ("<x>256</x>", "<x>256.0</x>", "encodedSpace.matrixSize.x"),
    "matrix with an underscore": ("<x>256</x>", "<x>2_5</x>", "encodedSpace.matrixSize.x"),
    "empty matrix": ("<x>256</x>", "<x/>", "encodedSpace.matrixSize.x"),
    "missing axis": ("<x>256</x>", "", "encodedSpace.matrixSize.x is missing"),
    "negative field of view": ("<x>600</x>", "<x>-600</x>", "encodedSpace.fieldOfView_mm.x"),
    "field of view is no number": ("<x>600</x>", "<x>NaN</x>", "encodedSpace.fieldOfView_mm.x"),
    "field of view is infinite": ("<x>600</x>", "<x>1e999</x>", "encodedSpace.fieldOfView_mm.x"),
    "limit too large": ("<maximum>127<", "<maximum>65536<", "kspace_encoding_step_1.maximum \\(65536\\)"),
    "limits reversed": ("<minimum>0<", "<minimum>200<", "kspace_encoding_step_1: maximum \\(127\\)"),
    "limit without center": ("<center>64</center>", "", "kspace_encoding_step_1.center is missing"),
    "no acceleration": (
        "<kspace_encoding_step_1>2<",
        "<kspace_encoding_step_1>0<",
        "accelerationFactor.kspace_encoding_step_1 \\(0\\)",
    ),
    "no trajectory": ("<trajectory>EPI</trajectory>", "", "trajectory is missing"),
    "channels": ("<receiverChannels>32<", "<receiverChannels>many<", "receiverChannels \\('many'\\)"),
    "dependency without id": ("<measurementID>M_0</measurementID>", "", "measurementDependency\\[0\\].measurementID"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_values_are_refused_by_name(case):
    old, new, complaint = BAD[case]
    assert old in FULL
    with pytest.raises(MalformedMessageError, match=complaint):
        parse_ismrmrd_header(FULL.replace(old, new, 1))


@pytest.mark.parametrize(
    "xml", ["", "\0\0", "hello", "<a/>", "<ismrmrdHeader/>", FULL[:200], FULL + "<x/>", b"\xff\xfe\x00"]
)
def test_what_is_no_header_is_malformed(xml):
    with pytest.raises(MalformedMessageError):
        parse_ismrmrd_header(xml)


def test_a_doctype_is_refused():
    xml = FULL.replace("<ismrmrdHeader", '<!DOCTYPE x [<!ENTITY e "e">]><ismrmrdHeader', 1)
    with pytest.raises(MalformedMessageError, match="(?i)doctype|DTD"):
        parse_ismrmrd_header(xml)


def test_sizes_are_limited():
    with pytest.raises(LimitExceeded):
        parse_ismrmrd_header(FULL + " " * (LIMITS.max_header_bytes + 1))
    with pytest.raises(GadgetronError):
        parse_ismrmrd_header("<ismrmrdHeader>" + "<a>" * 200 + "</a>" * 200 + "</ismrmrdHeader>")


def test_a_hundred_thousand_encodings_are_refused_quickly():
    with pytest.raises(GadgetronError):
        parse_ismrmrd_header("<ismrmrdHeader>" + "<encoding/>" * 100_000 + "</ismrmrdHeader>")


def test_every_truncation_is_an_error_with_a_name():
    data = FULL.encode()
    for n in range(0, len(data) - 1, 37):
        with pytest.raises(MalformedMessageError):
            parse_ismrmrd_header(data[:n])


def test_threads_may_parse_at_once():
    results = []
    threads = [threading.Thread(target=lambda: results.append(parse_ismrmrd_header(FULL))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [parse_ismrmrd_header(FULL)] * 4


def test_parallel_imaging_modes_are_lower_case():
    header = parse_ismrmrd_header(header_xml(parallel=PARALLEL.format(mode="InterLeaved")))
    assert header.encoding[0].parallelImaging.calibrationMode == "interleaved"
