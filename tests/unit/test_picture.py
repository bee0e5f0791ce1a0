"""The montage: every image once, windowed by series, whatever the sizes and types."""

import sys

import ismrmrd
import numpy as np
import pytest
from PIL import Image

from gadgetron.cli import picture as program
from gadgetron.cli.picture import BACKGROUND, make_montage
from gadgetron.dataset import ImageFileWriter, StoredImage

LARGE = program.MIN_EDGE_PIXELS  # an edge that is not enlarged


def image_of(data, series="image_0"):
    return StoredImage(ismrmrd.ImageHeader(), np.asarray(data), "", series)


def test_one_image_fills_the_picture_between_black_and_white():
    ramp = np.linspace(0, 7, LARGE * LARGE, dtype=np.float32).reshape(1, 1, LARGE, LARGE)
    montage = make_montage([image_of(ramp)], percentile=50)
    assert montage.shape == (LARGE + 4, LARGE + 4)
    inside = montage[2:-2, 2:-2]
    np.testing.assert_array_equal(inside, np.clip(ramp[0, 0] * (255 / 3.5), 0, 255).astype(np.uint8))
    assert (montage[:2] == BACKGROUND).all()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32, np.complex64, np.complex128])
def test_types_are_shown_by_magnitude(dtype):
    data = (np.indices((LARGE, LARGE)).sum(axis=0) * (1j if np.issubdtype(dtype, np.complexfloating) else 1)).astype(
        dtype
    )
    montage = make_montage([image_of(data[np.newaxis, np.newaxis])])
    assert montage[2, 2] == 0
    assert montage[-3, -3] == 255


def test_channels_and_partitions_are_tiles_of_their_own():
    data = np.zeros((2, 3, LARGE, LARGE), np.float32)
    for index, plane in enumerate(data.reshape(6, LARGE, LARGE)):
        plane[:] = index + 1
    montage = make_montage([image_of(data)])
    assert montage.shape == (2 * (LARGE + 2) + 2, 3 * (LARGE + 2) + 2)
    centres = montage[LARGE // 2 :: LARGE + 2, LARGE // 2 :: LARGE + 2][:2, :3]
    np.testing.assert_array_equal(centres, [[42, 85, 127], [170, 212, 255]])


def test_series_have_their_own_windows_and_sizes():
    images = [image_of(np.full((1, 1, 400, LARGE), 1.0)), image_of(np.full((1, 1, LARGE, 300), 1000.0), "image_1")]
    montage = make_montage(images)
    assert (montage == 255).sum() == 400 * LARGE + LARGE * 300
    assert set(np.unique(montage)) == {BACKGROUND, 255}


def test_small_images_are_enlarged_by_whole_numbers():
    montage = make_montage([image_of(np.ones((1, 1, 8, 8)))])
    assert max(montage.shape) >= LARGE
    assert (montage == 255).sum() == (8 * (montage.shape[0] // 12)) ** 2


def test_what_is_not_finite_is_black_and_empty_images_stay_black():
    data = np.ones((1, 1, LARGE, LARGE), np.float32)
    data[0, 0, :10] = np.nan
    data[0, 0, 10:20] = np.inf
    montage = make_montage([image_of(data), image_of(np.zeros_like(data), "image_1")])
    assert not montage[2:22, 2 : LARGE + 2].any()
    assert not montage[2 : LARGE + 2, LARGE + 4 : -2].any()
    assert (montage[22 : LARGE + 2, 2 : LARGE + 2] == 255).all()


def test_of_many_images_some_are_shown():
    many = [image_of(np.full((1, 1, 10, 10), index)) for index in range(1000)]
    montage = make_montage(many)
    assert montage.shape[0] % (8 * 12 + 2) == 0


def write_images(path, *groups):
    for group in groups:
        with ImageFileWriter(path, group) as writer:
            writer.append(ismrmrd.ImageHeader(), np.eye(16, dtype=np.float32)[np.newaxis, np.newaxis])


def test_the_program_writes_a_png_beside_the_file(tmp_path, capsys):
    write_images(tmp_path / "out.h5", "run")
    assert program.main([str(tmp_path / "out.h5")]) == 0
    assert "out.png: 1 image\n" in capsys.readouterr().out
    with Image.open(tmp_path / "out.png") as png:
        assert png.format == "PNG"
        assert np.asarray(png).max() == 255


def test_the_program_asks_which_of_several_runs(tmp_path, capsys):
    write_images(tmp_path / "out.h5", "monday", "tuesday")
    assert program.main([str(tmp_path / "out.h5")]) == 1
    assert "name one of 'monday', 'tuesday'" in capsys.readouterr().err
    assert program.main([str(tmp_path / "out.h5"), "--list"]) == 0
    assert capsys.readouterr().out.split() == ["monday", "tuesday"]
    assert program.main([str(tmp_path / "out.h5"), "-G", "tuesday", "-o", str(tmp_path / "t.png")]) == 0
    assert (tmp_path / "t.png").exists()


def test_the_program_says_what_to_install(tmp_path, capsys, monkeypatch):
    write_images(tmp_path / "out.h5", "run")
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert program.main([str(tmp_path / "out.h5")]) == 1
    assert "gadgetron[pictures]" in capsys.readouterr().err


def test_the_program_fails_in_words_without_a_file(tmp_path, capsys):
    assert program.main([str(tmp_path / "out.h5")]) == 1
    assert "no such file" in capsys.readouterr().err
    assert program.main([str(tmp_path / "out.h5"), "--list"]) == 1


def test_a_picture_that_cannot_be_written_fails_in_words(tmp_path, capsys):
    write_images(tmp_path / "out.h5", "run")
    assert program.main([str(tmp_path / "out.h5"), "-o", str(tmp_path / "missing" / "a.png")]) == 1
    assert "a.png: No such file" in capsys.readouterr().err
