"""Show the images of a reconstruction: a montage of an output file as PNG."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gadgetron.dataset import StoredImage, list_image_groups, load_images
from gadgetron.errors import StorageError

MAX_TILES = 64
MIN_EDGE_PIXELS = 512
GAP_PIXELS = 2
BACKGROUND = 40


def make_montage(images: Sequence[StoredImage], percentile: float = 99.5) -> NDArray[np.uint8]:
    """Lay the magnitudes of all channels and partitions of all images out side by side.

    Parameters
    ----------
    images
        At least one. Images of one series share their window, from 0 to the percentile of their pixels.
    percentile
        What is shown white, of the pixels of a series.

    Returns
    -------
        Grey values, shape (y, x), at least 512 pixels along the longer edge. Of more than 64 tiles, 64 evenly chosen
        ones are shown.
    """
    tiles: list[NDArray[np.uint8]] = []
    for _series, members in groupby(images, key=lambda image: image.series):
        planes = [plane for image in members for plane in _magnitude(image.data)]
        white = max(float(np.percentile(plane, percentile)) for plane in planes)
        tiles.extend(_grey(plane, white) for plane in planes)
    if len(tiles) > MAX_TILES:
        tiles = [tiles[round(index)] for index in np.linspace(0, len(tiles) - 1, MAX_TILES)]
    n_y, n_x = (max(tile.shape[axis] for tile in tiles) for axis in (0, 1))
    n_columns = math.ceil(math.sqrt(len(tiles) * n_y / n_x))
    n_rows = math.ceil(len(tiles) / n_columns)
    step_y, step_x = n_y + GAP_PIXELS, n_x + GAP_PIXELS
    picture = np.full((n_rows * step_y + GAP_PIXELS, n_columns * step_x + GAP_PIXELS), BACKGROUND, np.uint8)
    for index, tile in enumerate(tiles):
        row, column = divmod(index, n_columns)
        y = GAP_PIXELS + row * step_y + (n_y - tile.shape[0]) // 2
        x = GAP_PIXELS + column * step_x + (n_x - tile.shape[1]) // 2
        picture[y : y + tile.shape[0], x : x + tile.shape[1]] = tile
    enlarge = math.ceil(MIN_EDGE_PIXELS / max(picture.shape))
    return picture.repeat(enlarge, axis=0).repeat(enlarge, axis=1)


def _magnitude(data: NDArray[Any]) -> NDArray[np.float64]:
    """Magnitudes, shape (channels * z, y, x), without what is not finite."""
    planes = np.abs(data.astype(np.complex128)).reshape(-1, *data.shape[-2:])
    return np.nan_to_num(planes, nan=0.0, posinf=0.0)


def _grey(plane: NDArray[np.float64], white: float) -> NDArray[np.uint8]:
    return np.clip(plane * (255 / white if white > 0 else 0), 0, 255).astype(np.uint8)


def write_picture(source: Path, target: Path, group: str | None = None, percentile: float = 99.5) -> int:
    """Write a montage of a run's images as PNG.

    Parameters
    ----------
    source
        An output file of the client.
    target
        The PNG.
    group
        The run; may be left out if there is only one.
    percentile
        What is shown white.

    Returns
    -------
        The number of images.

    Raises
    ------
    StorageError
        If the images cannot be read, there are none, or the picture cannot be written.
    ModuleNotFoundError
        If Pillow is not installed.
    """
    from PIL import Image  # the extra `pictures`

    images = load_images(source, group)
    picture = Image.fromarray(make_montage(images, percentile))
    try:
        picture.save(target, format="PNG")
    except OSError as err:
        raise StorageError(f"{target.name}: {err.strerror or err} — writing the picture") from err
    return len(images)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program."""
    parser = argparse.ArgumentParser(
        prog="python -m gadgetron.cli.picture", description="Write a montage of the images in an output file as PNG."
    )
    parser.add_argument("source", type=Path, help="output file of the client (HDF5)")
    parser.add_argument("-o", "--output", type=Path, help="the picture (the source's name with .png)")
    parser.add_argument("-G", "--group", help="the run to show (the only one)")
    parser.add_argument("--list", action="store_true", help="list the runs in the file")
    parser.add_argument("--percentile", type=float, default=99.5, help="of the pixels, shown white (%(default)s)")
    arguments = parser.parse_args(argv)
    if not 0 < arguments.percentile <= 100:
        parser.error(f"--percentile is {arguments.percentile} — above 0, up to 100")
    target = arguments.output or arguments.source.with_suffix(".png")
    try:
        if arguments.list:
            print("\n".join(list_image_groups(arguments.source)))
            return 0
        n_images = write_picture(arguments.source, target, arguments.group, arguments.percentile)
    except StorageError as err:
        print(f"picture: {err}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as err:
        print(f"picture: {err.name} is not installed: pip install 'gadgetron[pictures]'", file=sys.stderr)
        return 1
    print(f"{target}: {n_images} image{'' if n_images == 1 else 's'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
