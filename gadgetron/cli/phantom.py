"""gadgetron_phantom: write a simulated scan of the Shepp-Logan phantom as ISMRMRD HDF5."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tqdm import tqdm

from gadgetron.errors import StorageError
from gadgetron.phantom import PhantomOptions, PhantomScan, write_phantom

EXAMPLES = """\
examples:
  gadgetron_phantom                                        256 x 256, 8 coils, to testdata.h5
  gadgetron_phantom -m 128 -c 16 -r 10 -C -o dynamic.h5    ten repetitions and a noise scan
  gadgetron_phantom -a 2 -w 24 -C -o accelerated.h5        every second line, 24 calibration lines
  gadgetron_phantom -m 96 --radial --spokes 150 -o radial.h5
  gadgetron_phantom -m 64 --partitions 32 -o volume.h5     three-dimensional

The options -m -c -O -r -a -w -n -C -k -o -d are those of ISMRMRD's ismrmrd_generate_cartesian_shepp_logan; here -r is
the number of repetitions in the file, whatever the acceleration."""


def make_parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    default = PhantomOptions()
    parser = argparse.ArgumentParser(
        prog="gadgetron_phantom",
        description="Write a multi-coil scan of the Shepp-Logan phantom as ISMRMRD HDF5.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    image = parser.add_argument_group("image")
    image.add_argument("-m", "--matrix", type=int, default=256, help="pixels along x and y (%(default)s)")
    image.add_argument("--matrix-y", type=int, metavar="N", help="pixels along y, for an image that is not square")
    image.add_argument(
        "--partitions", type=int, default=1, metavar="N", help="pixels along z: a three-dimensional scan (%(default)s)"
    )
    image.add_argument(
        "--fov",
        type=float,
        default=default.field_of_view_mm,
        metavar="MM",
        help="edge along x [mm] (%(default)s)",
    )
    image.add_argument("--intensity", type=float, default=1.0, help="value of the brightest pixel (%(default)s)")
    scan = parser.add_argument_group("scan")
    scan.add_argument("-c", "--coils", type=int, default=8, help="receive coils (%(default)s)")
    scan.add_argument("-O", "--oversampling", type=int, default=2, help="readout oversampling (%(default)s)")
    scan.add_argument("-r", "--repetitions", type=int, default=1, help="repetitions (%(default)s)")
    scan.add_argument("-s", "--slices", type=int, default=1, help="slices (%(default)s)")
    scan.add_argument("--contrasts", type=int, default=1, help="echoes (%(default)s)")
    scan.add_argument(
        "-a", "--acceleration", type=int, default=1, help="measure every n-th line or spoke (%(default)s)"
    )
    scan.add_argument(
        "-w",
        "--calibration-width",
        type=int,
        default=0,
        metavar="N",
        help="calibration lines (%(default)s)",
    )
    scan.add_argument("-k", "--k-coordinates", action="store_true", help="store k-space positions with the readouts")
    scan.add_argument("--radial", action="store_true", help="spokes instead of lines, with their trajectory")
    scan.add_argument("--spokes", type=int, metavar="N", help="spokes of a full radial scan (as many as pixels)")
    scan.add_argument("--golden-angle", action="store_true", help="spokes by the golden angle, over all repetitions")
    noise = parser.add_argument_group("noise")
    noise.add_argument(
        "-n",
        "--noise-level",
        type=float,
        default=0.05,
        help="noise, as a fraction of the intensity (%(default)s)",
    )
    noise.add_argument("-C", "--noise-calibration", action="store_true", help="begin with a noise scan")
    noise.add_argument(
        "--noise-correlation", type=float, default=0.0, metavar="R", help="of neighbouring coils, 0 to 1 (%(default)s)"
    )
    noise.add_argument("--seed", type=int, default=0, help="the same seed gives the same scan (%(default)s)")
    output = parser.add_argument_group("output")
    output.add_argument("-o", "--output", type=Path, default=Path("testdata.h5"), help="file (%(default)s)")
    output.add_argument("-d", "--dataset", default="dataset", help="group in the file (%(default)s)")
    output.add_argument("--force", action="store_true", help="overwrite an existing file")
    output.add_argument("-q", "--quiet", action="store_true", help="no progress, no summary")
    return parser


def options_from(arguments: argparse.Namespace) -> PhantomOptions:
    """Translate the command line.

    Raises
    ------
    ValueError
        If a number is out of range, or options contradict each other.
    """
    return PhantomOptions(
        matrix=arguments.matrix,
        matrix_y=arguments.matrix_y,
        n_partitions=arguments.partitions,
        n_coils=arguments.coils,
        oversampling=arguments.oversampling,
        n_slices=arguments.slices,
        n_contrasts=arguments.contrasts,
        n_repetitions=arguments.repetitions,
        acceleration=arguments.acceleration,
        calibration_width=arguments.calibration_width,
        noise_level=arguments.noise_level,
        noise_correlation=arguments.noise_correlation,
        noise_calibration=arguments.noise_calibration,
        trajectory="radial" if arguments.radial else "cartesian",
        n_spokes=arguments.spokes,
        golden_angle=arguments.golden_angle,
        store_coordinates=arguments.k_coordinates,
        field_of_view_mm=arguments.fov,
        intensity=arguments.intensity,
        seed=arguments.seed,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; the exit status is 1 when the file could not be written, 2 for a wrong command line."""
    parser = make_parser()
    arguments = parser.parse_args(argv)
    try:
        options = options_from(arguments)
    except ValueError as err:
        parser.error(str(err))
    total = PhantomScan(options).n_acquisitions
    progress = partial(tqdm, total=total, unit=" readouts", disable=arguments.quiet, leave=False)
    try:
        write_phantom(arguments.output, options, group=arguments.dataset, overwrite=arguments.force, progress=progress)
    except StorageError as err:
        hint = " (--force overwrites)" if "exists already" in str(err) else ""
        print(f"gadgetron_phantom: {err}{hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gadgetron_phantom: interrupted, nothing was written", file=sys.stderr)
        return 130
    if not arguments.quiet:
        print(f"{arguments.output}: {total} readouts of {options.n_samples} samples, {options.n_coils} coils")
    return 0


if __name__ == "__main__":
    sys.exit(main())
