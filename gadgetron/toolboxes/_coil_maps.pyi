import numpy as np
from numpy.typing import NDArray

def estimate_maps(
    images: NDArray[np.complex64], maps: NDArray[np.complex64], widths: tuple[int, int, int], iterations: int
) -> None: ...
