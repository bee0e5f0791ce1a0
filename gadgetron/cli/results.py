"""What the client does with results: HDF5, Analyze or DICOM files that appear when a run has ended well."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import ismrmrd

from gadgetron.cli.analyze import analyze_header, analyze_name
from gadgetron.conversion import ReconstructedImage, as_images
from gadgetron.dataset import ImageFileWriter
from gadgetron.dataset.temporary import TemporaryFolder
from gadgetron.errors import StorageError
from gadgetron.message import GadgetContainerMessage, MessageBlock, as_container_message


class StagedFiles:
    """Files in a hidden folder beside their destination, that get their names all at once, and never replace any.

    Parameters
    ----------
    folder
        Where they will be.

    Raises
    ------
    StorageError
        If the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[str] = []
        try:
            self._staging = TemporaryFolder(folder)
        except OSError as err:
            raise StorageError(f"{folder}: {err.strerror} — creating files in it") from err

    def write(self, name: str, data: Any) -> None:
        """Write a file that will get this name."""
        try:
            with (self._staging.path / name).open("xb") as file:
                file.write(data)
        except OSError as err:
            raise StorageError(f"{name}: {err.strerror} — writing it") from err
        self._names.append(name)

    def publish(self) -> None:
        """Give the files their names.

        Raises
        ------
        StorageError
            If there is a file of one of the names: runs are not mixed. None of the names has changed then.
        """
        taken: list[Path] = []
        try:
            for name in self._names:
                self._take_name(self._folder / name)
                taken.append(self._folder / name)
            for target in taken:
                (self._staging.path / target.name).replace(target)
        except (OSError, StorageError) as err:
            for target in taken:
                target.unlink(missing_ok=True)
            if isinstance(err, StorageError):
                raise
            raise StorageError(f"{self._folder}: {err.strerror} — naming the files") from err
        finally:
            self.discard()

    def _take_name(self, target: Path) -> None:
        try:
            target.open("xb").close()
        except FileExistsError as err:
            raise StorageError(f"{target.name}: exists already — runs are not mixed: name another group (-G)") from err

    def discard(self) -> None:
        """Remove the hidden folder and what is in it. More calls do nothing."""
        self._staging.discard()
        self._names.clear()


class Results:
    """Takes messages, counts them, and keeps what can be kept.

    Parameters
    ----------
    path
        The HDF5 file; other files come into the same folder.
    group
        The name of the run; None for the local time.
    file_format
        For images: "h5" or "hdr".

    Raises
    ------
    StorageError
        If there is a run of that name already, or nothing can be written there.
    """

    def __init__(self, path: Path, group: str | None, file_format: str) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self._analyze_names: Counter[str] = Counter()
        self._files = StagedFiles(path.parent)
        self._images: ImageFileWriter | None = None
        if file_format == "h5":
            try:
                self._images = ImageFileWriter(path, group)
            except StorageError:
                self._files.discard()
                raise
            group = self._images.group
        self._prefix = (group or datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S")).strip("/").replace("/", "_")

    def take(self, message_id: int, message: MessageBlock) -> None:
        """Keep one message: an image, each image of an image array, a DICOM file. In the connector's reader thread.

        Raises
        ------
        StorageError
            If it cannot be written.
        """
        if images := as_images(message, message_id):
            for image in images:
                self._write_image(image)
        elif (file := as_container_message(message, bytes)) is not None:
            self._write_dicom(file)
        else:
            first = message.object if isinstance(message, GadgetContainerMessage) else message
            self.counts[type(first).__name__.removesuffix("Header").lower()] += 1

    def _write_image(self, image: ReconstructedImage) -> None:
        self.counts["image"] += 1
        if self._images is not None:
            self._images.append(image.header, image.data, image.meta)
        else:
            self._write_analyze(image)

    def _write_analyze(self, image: ReconstructedImage) -> None:
        name = f"{self._prefix}_{analyze_name(image.header)}"
        self._analyze_names[name] += 1
        if self._analyze_names[name] > 1:  # an image with the same counters, number and series
            name = f"{name}_{self._analyze_names[name] - 1}"
        self._files.write(f"{name}.hdr", analyze_header(image.header, image.data))
        self._files.write(f"{name}.img", image.data.tobytes())
        if image.meta:
            self._files.write(f"{name}.attrib", image.meta.serialize().encode())

    def _write_dicom(self, file: GadgetContainerMessage[bytes]) -> None:
        # The name in the message is the server's, and may be anything: it is not used.
        name = f"{self._prefix}_{self.counts['DICOM file']:06d}"
        self.counts["DICOM file"] += 1
        self._files.write(f"{name}.dcm", file.object)
        meta = as_container_message(file.cont.cont, ismrmrd.Meta) if file.cont is not None else None
        if meta is not None and meta.object:
            self._files.write(f"{name}_attrib.xml", meta.object.serialize().encode())

    def publish(self) -> None:
        """Put everything under its name."""
        try:
            self._files.publish()
            if self._images is not None:
                self._images.close()
        finally:
            self.discard()

    def discard(self) -> None:
        """Drop what has not been published."""
        if self._images is not None:
            self._images.abort()
        self._files.discard()

    @property
    def n_kept(self) -> int:
        """Results that are, or will be, in files."""
        return self.counts["image"] + self.counts["DICOM file"]

    @property
    def place(self) -> str:
        """Where the results are, in words."""
        if self._images is not None and self._images.n_images:
            return f"{self.path}, group {self._images.group!r}"
        return f"{self.path.parent / self._prefix}_*"

    def summary(self) -> str:
        """Say what came back: `10 images, 1 DICOM file`."""
        return ", ".join(f"{n} {what}{'' if n == 1 else 's'}" for what, n in self.counts.items()) or "nothing"
