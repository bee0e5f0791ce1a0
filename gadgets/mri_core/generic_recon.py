"""What the generic Cartesian reconstructions share: coil maps, headers, and how images are sent."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from gadgetron.errors import MalformedMessageError
from gadgetron.gadget import Gadget1
from gadgetron.header import Encoding, IsmrmrdHeader
from gadgetron.image_arrays import label_images
from gadgetron.message import Array, Container, GadgetContainerMessage, ParametersMessage
from gadgetron.parallel_imaging import Acceleration, acceleration_of
from gadgetron.properties import Property
from gadgetron.recon_types import ImageArray, ReconBit, ReconBuffer, ReconData
from gadgetron.toolboxes.calibration import CalibrationError
from gadgetron.toolboxes.calibration_lines import list_lines
from gadgetron.toolboxes.coil_maps import coil_map_inati, coil_map_inati_iterative
from gadgetron.toolboxes.fft import ifft
from gadgetron.toolboxes.reference import Range, low_pass_kspace, sampled_lines

IMAGE_AXES = (-3, -2, -1)

Result = TypeVar("Result")


class GenericReconGadget(Gadget1[ReconData]):
    """Base of the generic Cartesian reconstructions: subclasses reconstruct one encoding space at a time.

    Takes recon data, emits image arrays, numbered and with meta attributes. `reconstruct` keeps nothing between calls.
    """

    image_series = Property(0, doc="series number; images have this plus the number of the encoding space plus 1")
    coil_map_algorithm = Property("Inati", doc="how coil maps are estimated", choices=("Inati", "Inati_Iter"))
    coil_map_kernel_size_readout = Property(
        7, doc="edge of the neighbourhood for coil maps, along x and y", minimum=1, maximum=63
    )
    coil_map_kernel_size_phase = Property(
        5, doc="edge of the neighbourhood for coil maps, along z", minimum=1, maximum=63
    )
    coil_map_num_iter = Property(10, doc="iterations of Inati_Iter, at most", minimum=1)
    coil_map_thres_iter = Property(1e-4, doc="relative change at which Inati_Iter stops", minimum=0.0)
    time_tick = Property(2.5, doc="accepted for old configurations; has no effect [ms]")

    emits = ((ImageArray,),)
    thread_safe = True

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._header: IsmrmrdHeader | None = None

    @property
    def header(self) -> IsmrmrdHeader:
        """The measurement's header.

        Raises
        ------
        MalformedMessageError
            If none has arrived.
        """
        if self._header is None:
            raise MalformedMessageError("recon data arrived before an ISMRMRD header: the encoding is not known")
        return self._header

    def process_config(self, parameters: ParametersMessage) -> None:
        """Remember the header."""
        self._header = parameters.header

    def process(self, message: Container[ReconData]) -> None:
        """Reconstruct every encoding space that has imaging data."""
        recon_data = message.object
        message.object = ReconData()  # its k-space can go as soon as it is used
        bits, recon_data.bits = recon_data.bits, []
        bits.reverse()
        for space in range(len(bits)):
            bit = bits.pop()
            if bit.data is not None and bit.data.data.size:
                self._check_trajectory(space)
                self.debug_array("data", bit.data.data)
                self.reconstruct(bit, bit.data, space, recon_data.waveforms)
            elif bit.reference is not None and bit.calibration is not None:
                bit.calibration.set(None)

    def _check_trajectory(self, space: int) -> None:
        encoding = self.encoding(space)
        if not encoding.is_cartesian:
            raise MalformedMessageError(
                f"trajectory ({encoding.trajectory}): cartesian or epi expected — encoding space {space}; {self.name} "
                "reconstructs lines on a grid"
            )

    @abstractmethod
    def reconstruct(self, bit: ReconBit, data: ReconBuffer, space: int, waveforms: list[Any]) -> None:
        """Reconstruct one encoding space, and send what comes out.

        Parameters
        ----------
        bit
            Its reference, prepared, may be absent.
        data
            Imaging data of the bit.
        space
            Number of the encoding space.
        waveforms
            Recorded meanwhile.
        """

    def calibrated(self, bit: ReconBit, compute: Callable[[ReconBuffer], Result]) -> tuple[Result, bool]:
        """Give what is computed from calibration data, and whether it is of the bit's own.

        Where that is no use, or there is none, it is of the last bit of the slice that had some.

        Raises
        ------
        MalformedMessageError
            If there was none, or it was no use: then the error says why, and which lines are missing.
        """
        reference, bit.reference = bit.reference, None
        result: Result | None = None
        refusal: CalibrationError | None = None
        if reference is not None:
            try:
                result = compute(reference)
            except CalibrationError as error:
                refusal = error
            finally:
                if bit.calibration is not None:
                    bit.calibration.set(result)
            if result is not None:
                return result, True
        if bit.calibration is not None:
            result = bit.calibration.wait(lambda: self.inbox.is_closed)
        if refusal is not None and reference is not None:
            complaint = f"{refusal}{missing_lines(reference)}"
            if result is None:
                raise MalformedMessageError(f"{self.name}: {complaint}") from refusal
            self.warn_once("calibration.refused", f"{complaint}; the last calibration of the slice is used")
        if result is None:
            raise MalformedMessageError(
                f"{self.name}: no calibration data; a GenericReconCartesianReferencePrepGadget before it prepares it"
            )
        return result, False

    def send(self, array: ImageArray, space: int, series: int, role: str) -> None:
        """Give an image array its numbers, say what it is, and send it."""
        self.debug_array(role, array.data)
        label_images(array, self.encoding(space), self.image_series + series, role)
        self.put_next(GadgetContainerMessage(array))

    def encoding(self, space: int) -> Encoding:
        """Give an encoding space by its number."""
        return self.header.encoding_space(space)

    def acceleration(self, bit: ReconBit, space: int) -> Acceleration:
        """Give the acceleration of a bit: what its lines have told, or what the header says."""
        return bit.acceleration or acceleration_of(self.encoding(space))

    def estimate_coil_maps(
        self,
        reference: ReconBuffer,
        data: ReconBuffer,
        acceleration: Acceleration,
        n_channels: int | None = None,
    ) -> Array[np.complex64]:
        """Estimate coil maps from prepared calibration data.

        Parameters
        ----------
        reference
            From GenericReconCartesianReferencePrepGadget.
        data
            What the maps are for: they have its matrix.
        acceleration
            How the data was accelerated.
        n_channels
            Use the first channels only.

        Returns
        -------
            Shape (LOC, S, N, channels, z, y, x), S and N of the reference.
        """
        n_e2, n_e1, n_e0 = data.data.shape[4:]
        limits = reference.sampling.sampling_limits
        ranges = (_range(limits[2]), _range(limits[1]), _range(limits[0]))
        kspace = low_pass_kspace(
            reference.data[:, :, :, :n_channels],
            ranges,
            (n_e2, n_e1, n_e0),
            cut=acceleration.keeps_center,
        )
        images = ifft(kspace, IMAGE_AXES, out=kspace)
        for place in np.ndindex(*images.shape[:3]):
            self._replace_by_coil_map(images[place])
        self.debug_array("coil_map", images)
        return images

    def _replace_by_coil_map(self, images: Array[np.complex64]) -> None:
        kernel, kernel_z = self.coil_map_kernel_size_readout, self.coil_map_kernel_size_phase
        if self.coil_map_algorithm == "Inati":
            coil_map_inati(images, kernel, kernel_z, out=images)
            return
        images[...] = coil_map_inati_iterative(
            images, kernel, kernel_z, self.coil_map_num_iter, self.coil_map_thres_iter
        )


def _range(limit: Any) -> Range:
    return Range(limit.min, limit.center, limit.max)


def missing_lines(reference: ReconBuffer) -> str:
    """Say in words which lines are missing among prepared calibration data; empty if none is."""
    lines = sampled_lines(reference.data)
    present = np.asarray(lines.any(axis=(0, 1, 2, 3)))
    if present.all() or not present.any():
        return ""
    heads: Any = reference.headers
    acquired = np.argwhere(heads.astype(bool))  # a header is true, None is not
    first = 0
    if acquired.size:
        place = tuple(acquired[0])
        first = int(heads[place].idx.kspace_encode_step_1) - int(place[-1])
    steps = (first + np.flatnonzero(~present)).tolist()
    return (
        f" — lines {list_lines(steps)} of {first} to {first + len(present) - 1} (kspace_encode_step_1) are missing; "
        "calibration takes lines without a gap, around the center of k-space, of the same slice"
    )


def shared_place(place: tuple[int, int, int], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Give the place of coefficients for a (LOC, S, N): the last one where there are fewer of them."""
    return tuple(min(index, size - 1) for index, size in zip(place, sizes, strict=False))
