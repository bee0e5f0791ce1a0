"""What `make demo` runs: phantom, daemon, client, pictures, from one command."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from tqdm import tqdm

from gadgetron.cli.picture import write_picture
from gadgetron.dataset import load_images
from gadgetron.errors import GadgetronError, StorageError
from gadgetron.phantom import PhantomOptions, PhantomScan, write_phantom

PHANTOM = PhantomOptions(
    n_coils=8, n_slices=4, n_repetitions=2, noise_level=0.02, noise_calibration=True, intensity=1000.0
)
LISTEN_S = 30.0
DRAIN_S = 40.0
LOG_LINES = 20


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demonstration; the exit status is not 0 when there are no pictures to look at."""
    parser = argparse.ArgumentParser(
        prog="python -m gadgetron.cli.demo", description="Reconstruct a scan, all by itself."
    )
    parser.add_argument("--scan", type=Path, help="ISMRMRD HDF5 file (a simulated phantom)")
    parser.add_argument("--config", default="default.xml", help="stock configuration, or an XML file (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="folder for the results (%(default)s)")
    arguments = parser.parse_args(argv)
    try:
        return _demonstrate(arguments.scan, arguments.config, arguments.output)
    except GadgetronError as err:
        print(f"demo: {err}", file=sys.stderr)
    except KeyboardInterrupt:
        print("demo: interrupted", file=sys.stderr)
    return 1


def _demonstrate(scan: Path | None, config: str, folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    if scan is None:
        scan = folder / "phantom.h5"
        _simulate(scan)
    elif not scan.is_file():
        raise StorageError(f"{scan}: no such file")
    images = folder / f"{scan.stem}-{Path(config).stem}.h5"
    images.unlink(missing_ok=True)
    log = folder / "daemon.log"
    print(f"Starting the daemon (its log: {log})")
    with _daemon(log) as port:
        print(f"Streaming {scan} to port {port}, through {config}")
        status = _run_client(port, scan, config, images)
    if status:
        raise GadgetronError(f"the client ended with status {status}; what the daemon has to say is in {log}")
    return _show(scan, images)


def _simulate(path: Path) -> None:
    options = PHANTOM
    print(
        f"Simulating a scan: {options.matrix} x {options.n_y}, {options.n_coils} coils, {options.n_slices} slices, "
        f"{options.n_repetitions} repetitions"
    )
    progress = partial(tqdm, total=PhantomScan(options).n_acquisitions, unit=" readouts", leave=False)
    write_phantom(path, options, overwrite=True, progress=progress)


@contextmanager
def _daemon(log: Path) -> Iterator[int]:
    """Run a daemon on a free port; it is asked to end when the context does, and made to when it does not."""
    with tempfile.TemporaryDirectory(prefix="gadgetron-demo-") as place, log.open("w", encoding="utf-8") as output:
        port_file = Path(place, "port")
        command = [sys.executable, "-m", "gadgetron.cli.daemon", "-p", "0", "--port-file", str(port_file), "-W", place]
        daemon = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            yield _wait_for_port(daemon, port_file, log)
        finally:
            daemon.terminate()
            try:
                daemon.wait(DRAIN_S)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _wait_for_port(daemon: subprocess.Popen[bytes], port_file: Path, log: Path) -> int:
    deadline = time.monotonic() + LISTEN_S
    while not port_file.exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise GadgetronError(f"the daemon does not listen:\n{_last_lines(log)}")
        time.sleep(0.02)
    return int(port_file.read_text(encoding="ascii"))


def _run_client(port: int, scan: Path, config: str, images: Path) -> int:
    """Run the client as a user would, its progress on our terminal; give its exit status."""
    configuration = ["-C", config] if Path(config).is_file() else ["-c", config]
    program = [sys.executable, "-m", "gadgetron.cli.client"]
    options = ["-p", str(port), "-f", str(scan), "-o", str(images), *configuration]
    return subprocess.run([*program, *options], stdin=subprocess.DEVNULL, check=False).returncode


def _show(scan: Path, images: Path) -> int:
    found = load_images(images)
    sizes = sorted({image.data.shape for image in found})
    picture = images.with_suffix(".png")
    print(
        f"\n{len(found)} image{'s' if len(found) > 1 else ''} came back, "
        f"(channels, z, y, x) = {', '.join(map(str, sizes))}"
    )
    print(f"  images   {images}")
    try:
        write_picture(images, picture)
        print(f"  picture  {picture}")
    except ModuleNotFoundError:
        print("  no picture: pip install 'gadgetron[pictures]'")
    programs = Path(os.path.relpath(Path(sys.executable).parent))
    print(
        f"""
What to try next:
  your own scan                  make demo SCAN=file.h5 CONFIG=default.xml
  what the chain does            {programs}/gadgetron_info default.xml
  other simulated scans          {programs}/gadgetron_phantom --help
  the daemon, by itself          {programs}/gadgetron
  a client for it                {programs}/gadgetron_ismrmrd_client -f {scan} -o out.h5
  your first gadget              docs/"""
    )
    return 0


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-LOG_LINES:])


if __name__ == "__main__":
    sys.exit(main())
