"""A noise scan is stored by one session, listed by another, and whitens the scan that depends on it in a third."""

from __future__ import annotations

import ismrmrd
import numpy as np
import pytest

from gadgetron import GadgetronConnector, reconstruct
from gadgetron.cli.query import ask_for_dependencies
from gadgetron.configuration.search import ConfigurationSearch
from gadgetron.conversion import as_image
from gadgetron.noise_storage import NOISE_PREFIX
from tests.gadgets.support import acquisition, complex_noise, header_xml, relative_difference, scan

MATRIX = (32, 16, 1)
SIGMA = np.array([1.0, 2.0, 5.0])[:, np.newaxis]
TIMEOUT_S = 30.0


def header(measurement_id, depends_on=""):
    dependency = (
        f"<measurementDependency><dependencyType>Noise</dependencyType><measurementID>{depends_on}</measurementID>"
        "</measurementDependency>"
    )
    measurement = f"<measurementID>{measurement_id}</measurementID>{dependency if depends_on else ''}"
    labels = "".join(
        f"<coilLabel><coilNumber>{number}</coilNumber><coilName>{name}</coilName></coilLabel>"
        for number, name in enumerate("abc")
    )
    return header_xml(
        MATRIX,
        more=f"<measurementInformation>{measurement}</measurementInformation>"
        f"<acquisitionSystemInformation><relativeReceiverNoiseBandwidth>0.5</relativeReceiverNoiseBandwidth>{labels}"
        "</acquisitionSystemInformation>",
    )


def noise_readouts():
    rng = np.random.default_rng(1)
    flags = (ismrmrd.ACQ_IS_NOISE_MEASUREMENT,)
    return [
        acquisition((complex_noise(rng, 3, 256) * SIGMA).astype(np.complex64), flags=flags, sample_time_us=5.0)
        for _ in range(8)
    ]


def imaging_readouts():
    kspace = complex_noise(np.random.default_rng(2), 3, 1, 16, 32) * SIGMA[:, :, np.newaxis, np.newaxis]
    return scan(kspace.astype(np.complex64), sample_time_us=10.0)


def run_session(port, configuration, xml=None, messages=()):
    """Run a session, and give what comes back; a configuration that begins with < is sent as a script."""
    connector = GadgetronConnector().open("127.0.0.1", port)
    try:
        if configuration.startswith("<"):
            connector.send_gadgetron_configuration_script(configuration)
        else:
            connector.send_gadgetron_configuration_file(configuration)
        if xml is not None:
            connector.send_gadgetron_parameters(xml)
        for message in messages:
            connector.putq(message)
        connector.close(TIMEOUT_S)
        return list(connector)
    finally:
        connector.abort()


def test_noise_is_stored_listed_summarized_and_used(server):
    names = ask_for_dependencies("127.0.0.1", server.port, "gtquery.xml")["NoiseDependencies"]
    assert names == "Dummy"

    assert run_session(server.port, "default_measurement_dependencies.xml", header("1_2_3"), noise_readouts()) == []
    folder = server.environment.working_directory
    assert [path.name for path in folder.iterdir()] == [f"{NOISE_PREFIX}_1_2_3"]

    names = ask_for_dependencies("127.0.0.1", server.port, "gtquery.xml")["NoiseDependencies"]
    assert names == f"{NOISE_PREFIX}_1_2_3"

    stock = ConfigurationSearch(environment={}).find("NoiseSummary.xml").read_text()
    ((_, answer),) = run_session(server.port, stock.replace("<value></value>", "<value>1_2_3</value>"))
    assert answer.object["status"] == "success"
    assert int(answer.object["channels"]) == 3
    assert float(answer.object["max_sigma"]) == pytest.approx(5 * np.sqrt(2), rel=0.05)

    # "3" means the scan of the same session, as scanners write it. It must be as if the noise had come first in-line.
    xml = header("1_2_4", "3")
    ((message_id, image),) = run_session(server.port, "default_optimized.xml", xml, imaging_readouts())
    (expected,) = reconstruct(
        (header("1_2_5"), [*noise_readouts(), *imaging_readouts()]),
        "default_optimized.xml",
        environment=server.environment,
    )
    (unwhitened,) = reconstruct(
        (header("1_2_6"), imaging_readouts()), "default_optimized.xml", environment=server.environment
    )
    dependent = as_image(image, message_id)
    assert dependent is not None
    assert relative_difference(dependent.data, expected.data) < 1e-5
    assert relative_difference(dependent.data, unwhitened.data) > 0.1


def test_r20_measurement_ids_from_the_wire_lead_nowhere(server):
    folder = server.environment.working_directory
    hostile = ["../up", "/abs", "..", "a/b", "a\\b", "%2e%2e/x", "x" * 3000]
    for measurement_id in hostile:
        session = run_session(
            server.port, "default_measurement_dependencies.xml", header(measurement_id), noise_readouts()
        )
        assert session == []
        images = run_session(
            server.port, "default_optimized.xml", header("other", f"{measurement_id}"), imaging_readouts()
        )
        assert len(images) == 1
    files = list(folder.rglob("*"))
    assert len(files) == len(hostile)
    assert all(path.is_file() and path.parent == folder and path.name.startswith(NOISE_PREFIX) for path in files)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
