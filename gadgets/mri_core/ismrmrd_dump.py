"""Storage of raw data on its way through."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import ismrmrd
import numpy as np

from gadgetron.dataset import ScanWriter
from gadgetron.errors import StorageError
from gadgetron.gadget import Gadget2
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.properties import Property

MAX_NAME_CHARACTERS = 80
MAX_FILES_OF_A_NAME = 10_000


class IsmrmrdDumpGadget(
    Gadget2[ismrmrd.AcquisitionHeader | ismrmrd.WaveformHeader, Array[np.complex64] | Array[np.uint32]]
):
    """Save the scan as an ISMRMRD file, and pass it on.

    The file is `<folder>/<file_prefix>_<measurementID, or else time>.h5`, below the working directory wherever
    `folder` points, and is there when the stream has ended well. A file of that name is kept, the new one gets a
    number.
    """

    folder = Property(
        "gadgetron_data", doc="folder of the file; of a path outside the working directory, its last part is taken"
    )
    file_prefix = Property("ISMRMRD_DUMP", doc="beginning of the file's name")
    ip_no_data_saving = Property(
        ["192.168.2.2", "192.168.56.2"], type=list[str], doc="accepted for old configurations; has no effect"
    )
    save_xml_header_only = Property(False, doc="save the header, but no readouts")
    pass_waveform_downstream = Property(True, doc="whether to pass on waveforms, too")

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._writer: ScanWriter | None = None

    def process_config(self, parameters: ParametersMessage) -> None:
        """Open the file, at the first parameters."""
        if self._writer is not None:
            return
        measurement = parameters.header.measurementInformation
        identity = measurement.measurementID if measurement else None
        suffix = _safe(identity or "") or datetime.now(tz=UTC).strftime("%Y%m%d_%H%M%S_%f")
        folder = self.working_directory / (_safe(_last_part(self.folder)) or "gadgetron_data")
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"folder of raw data ({folder.name}): {error.strerror}") from error
        self._writer = ScanWriter(_free_name(folder, f"{_safe(self.file_prefix) or 'ISMRMRD_DUMP'}_{suffix}"))
        self._writer.write_header(parameters.data.rstrip(b"\0"))

    def process(self, header: Container[Any], data: Container[Array[Any]]) -> None:
        """Save and pass on one readout or waveform."""
        head = header.object
        is_waveform = isinstance(head, ismrmrd.WaveformHeader)
        if self._writer is not None and not self.save_xml_header_only:
            if is_waveform:
                self._writer.append_waveform(head, data.object)
            else:
                block = data.cont
                self._writer.append(head, data.object, block.object if isinstance(block, Container) else None)
        if not is_waveform or self.pass_waveform_downstream:
            self.put_next(header)

    def close(self, flags: int) -> None:
        """Give the file its name; discard it if the session has failed."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if not flags:
            writer.abort()
            return
        writer.close()
        self.log.info("scan.saved", n_acquisitions=writer.n_acquisitions)


def _safe(text: str) -> str:
    """Keep of a text from outside what may be in a file's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", text)[:MAX_NAME_CHARACTERS].strip("_")


def _last_part(path: str) -> str:
    """Give the last part of a path in the manner of either system."""
    return PureWindowsPath(PurePosixPath(path.strip() or "gadgetron_data").as_posix()).name


def _free_name(folder: Path, stem: str) -> Path:
    for number in range(1, MAX_FILES_OF_A_NAME):
        path = folder / (f"{stem}.h5" if number == 1 else f"{stem}_{number}.h5")
        if not path.exists():
            return path
    raise StorageError(f"{stem}.h5: {MAX_FILES_OF_A_NAME} files of that name exist")
