"""Build wheel and source distribution, install each and the checkout in new environments, and reconstruct there.

Run as ``python -m tests.install_smoke [wheel] [sdist] [editable]``; `make packages` does all three.
"""

import subprocess
import sys
import tempfile
import time
import venv
import zipfile
from pathlib import Path

from gadgetron.toolboxes.coil_maps import IS_COMPILED

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("wheel", "sdist", "editable")
LISTEN_S = 30.0
PROGRAM_S = 300.0

# Run by the fresh environment's Python in an empty folder: nothing but the installed package is there to be found.
CHECK_IMAGES = """
import sys
import numpy as np
from gadgetron import reconstruct
from gadgetron.dataset import ScanFile, load_images
with ScanFile("scan.h5") as scan:
    phantom = scan.read_array("phantom")[0]
(image,) = load_images("out.h5", "run")
error = np.linalg.norm(image.data[0] - phantom) / np.linalg.norm(phantom)
assert error < 1e-4, f"streamed image differs from the phantom by {error}"
images = list(reconstruct("scan.h5", "default.xml"))
assert len(images) == 1, f"{len(images)} images without a server"
import gadgetron
print(f"images agree with the phantom to {error:.1e}; gadgetron {gadgetron.__version__} from {gadgetron.__file__}")
"""


def run(*command: object, cwd: Path) -> str:
    """Run a program to its end; show what it said only when it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=PROGRAM_S, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\nexit status {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout.strip()


def build(folder: Path) -> tuple[Path, Path]:
    """Build the source distribution and, from it, the wheel; another wheel from the checkout must hold the same."""
    run(sys.executable, "-m", "build", "--outdir", folder, ROOT, cwd=folder)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", folder / "direct", ROOT, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (direct,) = (folder / "direct").glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    names, direct_names = (set(zipfile.ZipFile(file).namelist()) for file in (wheel, direct))
    if names != direct_names:
        sys.exit(f"the wheels from sdist and checkout differ in {sorted(names ^ direct_names)}")
    wanted = {f"gadgetron/_config/{file.relative_to(ROOT / 'config')}" for file in (ROOT / "config").rglob("*.x*")}
    wanted |= {f"{package}/py.typed" for package in ("gadgetron", "gadgets", "readers_writers")}
    wanted |= {
        str(file.relative_to(ROOT))
        for package in ("gadgetron", "gadgets", "readers_writers")
        for file in (ROOT / package).rglob("*.py")
    }
    if missing := wanted - names:
        sys.exit(f"the wheel lacks {sorted(missing)}")
    if IS_COMPILED and not any(name.startswith("gadgetron/toolboxes/_coil_maps.") for name in names):
        sys.exit("the wheel lacks the compiled coil maps, which this environment has")
    if stray := {name.partition("/")[0] for name in names} - {"gadgetron", "gadgets", "readers_writers"}:
        stray = {name for name in stray if not name.endswith(".dist-info")}
        if stray:
            sys.exit(f"the wheel brings {sorted(stray)} along")
    return wheel, sdist


def install(kind: str, source: list[object], folder: Path) -> Path:
    """Make an environment, install into it, and give its folder of programs."""
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", *source, cwd=folder)
    print(f"{kind}: installed", flush=True)
    return programs


def smoke(kind: str, programs: Path, folder: Path) -> None:
    """Make a phantom, reconstruct it by daemon and client and in the process, and end the daemon by SIGTERM."""
    run(programs / "gadgetron_phantom", "-m", 64, "-c", 4, "-n", 0, "-q", "-o", "scan.h5", cwd=folder)
    run(programs / "gadgetron_validate", "default.xml", cwd=folder)
    run(programs / "gadgetron_info", cwd=folder)
    port_file = folder / "port"
    log = (folder / "daemon.log").open("w")
    daemon = subprocess.Popen(
        [programs / "gadgetron", "-p", "0", "--port-file", port_file], cwd=folder, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        deadline = time.monotonic() + LISTEN_S
        while not port_file.exists():
            if daemon.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{kind}: the daemon does not listen\n{(folder / 'daemon.log').read_text()}")
            time.sleep(0.05)
        port = port_file.read_text().strip()
        run(programs / "gt_alive", "localhost", port, cwd=folder)
        client = programs / "gadgetron_ismrmrd_client"
        run(client, "-p", port, "-f", "scan.h5", "-c", "default.xml", "-o", "out.h5", "-G", "run", cwd=folder)
        daemon.terminate()
        if status := daemon.wait(LISTEN_S):
            sys.exit(f"{kind}: the daemon ended with {status}\n{(folder / 'daemon.log').read_text()}")
    finally:
        daemon.kill()
        daemon.wait()
        log.close()
    print(f"{kind}: {run(programs / 'python', '-W', 'ignore', '-c', CHECK_IMAGES, cwd=folder)}", flush=True)


def main(kinds: list[str]) -> None:
    """Build and check the kinds of installation."""
    if unknown := set(kinds) - set(KINDS):
        sys.exit(f"{sorted(unknown)}: expected some of {', '.join(KINDS)}")
    with tempfile.TemporaryDirectory(prefix="gadgetron-packages-") as name:
        folder = Path(name)
        wheel, sdist = build(folder)
        print(f"built {wheel.name} and {sdist.name}", flush=True)
        sources: dict[str, list[object]] = {"wheel": [wheel], "sdist": [sdist], "editable": ["--editable", ROOT]}
        for kind in kinds or KINDS:
            place = folder / kind
            place.mkdir()
            smoke(kind, install(kind, sources[kind], place), place)
    print(f"{len(kinds or KINDS)} passed, 0 failed")


if __name__ == "__main__":
    main(sys.argv[1:])
