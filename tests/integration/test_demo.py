"""`make demo`: from nothing, or from a scan, to pictures; and an honest end when there are none."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gadgetron.dataset import load_images
from gadgetron.phantom import PhantomOptions, write_phantom

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def demonstrate(folder, *arguments):
    command = [sys.executable, "-m", "gadgetron.cli.demo", "--output", str(folder / "demo"), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_scan_becomes_images_and_a_picture(tmp_path):
    options = PhantomOptions(matrix=48, n_coils=4, n_slices=3, noise_level=0.0)
    scan = write_phantom(tmp_path / "scan.h5", options)
    done = demonstrate(tmp_path, "--scan", tmp_path / "scan.h5")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 images came back" in done.stdout
    images = load_images(tmp_path / "demo" / "scan-default.h5")
    for index, image in enumerate(images):
        np.testing.assert_allclose(image.data[0, 0], scan.phantom[index], atol=1e-4)
    with Image.open(tmp_path / "demo" / "scan-default.png") as picture:
        assert np.asarray(picture).max() == 255
    assert "server.ended" in (tmp_path / "demo" / "daemon.log").read_text(encoding="utf-8")


def test_without_a_scan_it_simulates_one(tmp_path):
    done = demonstrate(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(load_images(tmp_path / "demo" / "phantom-default.h5")) == 8
    assert (tmp_path / "demo" / "phantom-default.png").exists()
    assert "What to try next" in done.stdout
    again = demonstrate(tmp_path)
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(load_images(tmp_path / "demo" / "phantom-default.h5")) == 8


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(["--scan", "missing.h5"], "missing.h5: no such file"), (["--config", "missing.xml"], "no configuration")],
)
def test_without_images_it_fails_and_says_why(tmp_path, arguments, words):
    done = demonstrate(tmp_path, *arguments)
    assert done.returncode == 1
    assert words in done.stderr
    assert not list(tmp_path.glob("demo/*.png"))
