"""docs/names.md: every name in its second column exists."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import pytest

import gadgetron
from gadgetron import Gadget
from tests.docs.pages import DOCS, ROOT, read_blocks

PAGE = DOCS / "names.md"
PACKAGES = ("gadgetron", "gadgets", "readers_writers", "ismrmrd")

# Names of the architecture document that the first column must have.
THEIRS = """
ACE_Task svc ACE_Message_Block GadgetContainerMessage getObjectPtr release AsContainerMessage cont Gadget
Gadget1 Gadget2 process process_config next putq rd_ptr GADGET_OK GADGET_FAIL GADGET_DECLARE
GADGET_FACTORY_DECLARE EXPORTGADGETSMRICORE hoNDArray create get_data_ptr get_number_of_elements hoNDFFT ifft
parseIsmrmrdXMLHeader ismrmrdHeader encoding_sequence encodingSpaceType encodingLimitsType GADGET_DEBUG1
GADGET_DEBUG2 GadgetMessageReader GadgetMessageWriter ACE_SOCK_Stream recv_n send_n GADGETRON_READER_DECLARE
GADGETRON_READER_FACTORY_DECLARE GADGETRON_WRITER_DECLARE GADGETRON_WRITER_FACTORY_DECLARE
GadgetMessageIdentifier GADGET_MESSAGE_ISMRMRD_IMAGE_REAL_FLOAT controller_ output_ready GadgetStreamController
MRIImageWriter MRIImageWriterCPLX MRIImageWriterFLOAT MRIImageWriterUSHORT FFTGadget AccumulatorGadget
ExtractGadget ImageFinishGadget ImageFinishGadgetFLOAT GadgetIsmrmrdAcquisitionMessageReader get_bool_value
get_int_value get_double_value GadgetronConnector ACE_Svc_Handler ACE_Time_Value open register_reader
register_writer send_gadgetron_configuration_file send_gadgetron_configuration_script send_gadgetron_parameters
gadgetron_ismrmrd_client GADGETRON_HOME bin config lib include schema cmake dll slot classname property
""".split()  # noqa: SIM905  # ninety lines of one word each say less


def rows() -> Iterator[tuple[str, str]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.replace(r"\|", "¦").strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 3 and cells[0] != "C++":
            yield cells[0], cells[1]


NAMES = sorted({name for _, ours in rows() for name in re.findall(r"`([^`]+)`", ours)})


@pytest.mark.parametrize("name", NAMES)
def test_the_name_exists(name: str) -> None:
    if name.endswith("/") or "/" in name:
        assert (ROOT / name).exists()
    elif (ROOT / "bin" / name).is_file():
        return
    else:
        resolve(name)


def test_the_table_has_every_name_of_the_architecture_document() -> None:
    theirs = " ".join(cell for cell, _ in rows())
    missing = [name for name in THEIRS if not re.search(rf"(?<!\w){re.escape(name)}(?!\w)", theirs)]
    assert not missing


def test_a_row_has_our_name_or_a_dash() -> None:
    for theirs, ours in rows():
        assert ours == "–" or "`" in ours, theirs


def test_the_translated_process_config_runs() -> None:
    from gadgetron.message import config_message
    from gadgetron.phantom import PhantomOptions, PhantomScan

    (block,) = read_blocks(PAGE)
    parameters = config_message(PhantomScan(PhantomOptions(matrix=32, n_slices=3)).header_xml)
    self = Gadget()
    exec(compile(block.text, str(PAGE), "exec"), {"self": self, "parameters": parameters})
    assert vars(self)["_dimensions"] == (64, 32, 1)
    assert vars(self)["_n_slices"] == 3


def resolve(name: str) -> Any:
    """Give what a dotted name means: absolute, or a public name of gadgetron and its attributes."""
    first, *rest = name.split(".")
    if first not in PACKAGES:
        return attribute(getattr(gadgetron, first), rest)
    return pkgutil.resolve_name(name)


def attribute(found: Any, names: list[str]) -> Any:
    for name in names:
        if not hasattr(found, name) and isinstance(found, type) and issubclass(found, Gadget):
            found = found()  # attributes that a gadget has, but not its class
        found = getattr(found, name)
    return found
