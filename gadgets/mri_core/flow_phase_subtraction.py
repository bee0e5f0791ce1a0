"""Phase differences of images with and without flow encoding."""

from __future__ import annotations

import ismrmrd
import numpy as np

from gadgetron.errors import LimitExceeded, MalformedMessageError
from gadgetron.gadget import Gadget2
from gadgetron.limits import LIMITS
from gadgetron.message import Array, Container, ParametersMessage
from gadgetron.toolboxes.flow import phase_difference

Key = tuple[int, ...]
COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "image_series_index")


class FlowPhaseSubtractionGadget(Gadget2[ismrmrd.ImageHeader, Array[np.complex64]]):
    """Subtract the phase of the first set's images from that of the other sets'.

    Takes complex images; emits one for each image of the sets 1, 2, … whose partner of set 0 has come: the mean of both
    magnitudes, the difference of the phases, and a set less by one. Scans of one set pass unchanged.

    Mended against the C++ Gadgetron: partners are found by their counters, whatever image_index they have; there may be
    more than two sets; images without a partner are counted in a warning.
    """

    def __init__(self, name: str = "", **properties: object) -> None:
        super().__init__(name, **properties)
        self._n_sets = 1
        self._references: dict[Key, Array[np.complex64]] = {}
        self._n_partners: dict[Key, int] = {}
        self._waiting: dict[Key, list[tuple[Container[ismrmrd.ImageHeader], Container[Array[np.complex64]]]]] = {}
        self._n_bytes = 0

    def process_config(self, parameters: ParametersMessage) -> None:
        """Read the number of sets."""
        limit = parameters.header.encoding[0].encodingLimits.set
        self._n_sets = limit.maximum + 1 if limit is not None else 1

    def process(self, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]) -> None:
        """Keep one image, or subtract."""
        head = header.object
        if self._n_sets < 2:
            self.put_next(header)
            return
        if head.set >= self._n_sets:
            raise MalformedMessageError(f"set ({head.set}): at most {self._n_sets - 1} expected, from encodingLimits")
        key = tuple(getattr(head, name) for name in COUNTERS)
        if head.set == 0:
            self._keep_reference(key, image)
        else:
            self._waiting.setdefault(key, []).append((header, image))
            self._charge(image.object.nbytes)
        if key in self._references:
            for other in self._waiting.pop(key, []):
                self._subtract(key, *other)

    def _keep_reference(self, key: Key, image: Container[Array[np.complex64]]) -> None:
        before = self._references.get(key)
        if before is not None:
            self._n_bytes -= before.nbytes
        self._references[key] = image.object
        self._n_partners[key] = 0
        self._charge(image.object.nbytes)

    def _subtract(
        self, key: Key, header: Container[ismrmrd.ImageHeader], image: Container[Array[np.complex64]]
    ) -> None:
        reference = self._references[key]
        self._n_bytes -= image.object.nbytes
        if reference.shape != image.object.shape:
            raise MalformedMessageError(
                f"image {image.object.shape}: {reference.shape} expected, as that of set 0 — "
                f"slice {header.object.slice}"
            )
        image.object = phase_difference(reference, image.object)
        header.object.set -= 1
        self._n_partners[key] += 1
        if self._n_partners[key] == self._n_sets - 1:
            del self._references[key], self._n_partners[key]
            self._n_bytes -= reference.nbytes
        self.put_next(header)

    def _charge(self, n_bytes: int) -> None:
        self._n_bytes += n_bytes
        if self._n_bytes > LIMITS.max_session_bytes:
            raise LimitExceeded("bytes of images waiting for other sets", self._n_bytes, LIMITS.max_session_bytes)

    def close(self, flags: int) -> None:
        """Say what never found its partner."""
        n_alone = sum(map(len, self._waiting.values())) + sum(n == 0 for n in self._n_partners.values())
        if flags and n_alone:
            self.log.warning("flow.images_without_partner", n_images=n_alone)
        self._references, self._waiting, self._n_partners = {}, {}, {}
