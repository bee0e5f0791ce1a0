"""The ISMRMRD header of images that have none, because a client has written nothing but images."""

from __future__ import annotations

from typing import Any

import numpy as np
from ismrmrd import xsd
from numpy.typing import NDArray

COUNTERS = ("average", "slice", "contrast", "phase", "repetition", "set")


def header_of_images(heads: NDArray[np.void]) -> bytes:
    """Describe images by what they say themselves: matrix and field of view of the first, limits of all counters.

    Parameters
    ----------
    heads
        Their headers, a structured array whose fields have the names of `ismrmrd.ImageHeader`; at least one.

    Returns
    -------
        XML. What images do not tell, such as the resonance frequency, is zero or left out.
    """
    first = heads[0]
    x, y, z = (max(1, int(n)) for n in first["matrix_size"])
    # two objects, because encoded and reconstructed space must not be changed together
    encoded, recon = (
        xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=x, y=y, z=z),
            fieldOfView_mm=xsd.fieldOfViewMm(**_lengths(first["field_of_view"])),
        )
        for _ in range(2)
    )
    header = xsd.ismrmrdHeader(
        experimentalConditions=xsd.experimentalConditionsType(H1resonanceFrequency_Hz=0),
        encoding=[
            xsd.encodingType(
                encodedSpace=encoded,
                reconSpace=recon,
                encodingLimits=xsd.encodingLimitsType(
                    kspace_encoding_step_0=_limit(x - 1, x // 2),
                    kspace_encoding_step_1=_limit(y - 1, y // 2),
                    kspace_encoding_step_2=_limit(z - 1, z // 2),
                    **{name: _limit(int(heads[name].max())) for name in COUNTERS},
                ),
                trajectory=xsd.trajectoryType.CARTESIAN,
            )
        ],
    )
    xml: str = xsd.ToXML(header)
    return xml.encode()


def _lengths(field_of_view: NDArray[Any]) -> dict[str, float]:
    return {axis: float(length) for axis, length in zip("xyz", field_of_view, strict=True)}


def _limit(maximum: int, center: int = 0) -> xsd.limitType:
    return xsd.limitType(minimum=0, maximum=maximum, center=center)
