"""R20: names from a scan's header never lead a writing gadget out of the working directory."""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest

from gadgetron.errors import GadgetronError
from gadgets.mri_core.ismrmrd_dump import IsmrmrdDumpGadget
from tests.gadgets.support import Controller, acquisition, complex_noise, header_xml, run

HOSTILE = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    ".",
    "...",
    "",
    " ",
    "..\\..\\windows\\system32",
    "C:\\autoexec.bat",
    "a/../../b",
    "a//b",
    "%2e%2e%2f",
    "..%c0%af..",
    "name\nwith\nlines",
    "name\ttab",
    "$(touch /tmp/x)",
    "`id`",
    "; rm -rf ~",
    "-rf",
    "~root",
    "CON",
    "é" * 300,
    "x" * 5000,
    "\u202egpj.exe",
    "file.h5/../../x",
]


@pytest.mark.parametrize("where", ["measurementID", "protocolName", "patientID"])
@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_no_file_appears_outside_the_working_directory(where, name, tmp_path, rng):
    section = "subjectInformation" if where == "patientID" else "measurementInformation"
    header = header_xml(more=f"<{section}><{where}>{escape(name)}</{where}></{section}>")
    working_directory = tmp_path / "deep" / "work"
    try:
        run(
            IsmrmrdDumpGadget(folder=name, file_prefix=name),
            [acquisition(complex_noise(rng, 1, 4))],
            header,
            controller=Controller(working_directory),
        )
    except GadgetronError as error:
        assert str(tmp_path) not in error.client_text  # noqa: PT017  either outcome is right, neither may tell the path
    found = [path for path in tmp_path.rglob("*") if not path.is_dir()]
    assert all(path.resolve().is_relative_to(working_directory) for path in found)
    assert len(found) == 1
