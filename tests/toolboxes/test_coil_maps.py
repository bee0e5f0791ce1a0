import numpy as np
import pytest

from gadgetron.toolboxes import coil_maps
from gadgetron.toolboxes.coil_maps import coil_map_inati, coil_map_inati_iterative
from tests.gadgets.support import complex_noise, relative_difference

METHODS = [coil_map_inati, coil_map_inati_iterative]
needs_compiled = pytest.mark.skipif(not coil_maps.IS_COMPILED, reason="installed without a C compiler")


def smooth_sensitivities(n_coils, shape):
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in shape), indexing="ij")
    maps = []
    for coil in range(n_coils):
        angle = 2 * np.pi * coil / n_coils
        distance = (x - np.cos(angle)) ** 2 + (y - np.sin(angle)) ** 2 + (z - (-1) ** coil) ** 2
        maps.append(np.exp(-distance + 1j * (angle + 0.5 * x - 0.3 * y * z)))
    maps = np.array(maps)
    return maps / np.linalg.norm(maps, axis=0)


def plain_inati(images, kernel, kernel_z):
    """The definition, pixel by pixel, in double precision."""
    n_coils, n_z, n_y, n_x = images.shape
    halves = (kernel_z // 2 if n_z > 1 else 0, kernel // 2, kernel // 2)
    offsets = [np.arange(-half, half + 1) for half in halves]
    maps = np.empty(images.shape, complex)
    for z, y, x in np.ndindex(n_z, n_y, n_x):
        window = images[:, (z + offsets[0]) % n_z][:, :, (y + offsets[1]) % n_y][..., (x + offsets[2]) % n_x]
        rows = window.reshape(n_coils, -1).T.astype(complex)
        vector = rows.sum(axis=0)
        for _ in range(4):
            vector = vector / np.linalg.norm(vector)
            if _ < 3:
                vector = rows.conj().T @ (rows @ vector)
        phase = (rows @ vector).sum()
        maps[:, z, y, x] = vector.conj() * phase / abs(phase)
    return maps


@pytest.fixture(params=["compiled", "numpy"])
def implementation(request, monkeypatch):
    """Compute with the one, then with the other."""
    if request.param == "compiled" and not coil_maps.IS_COMPILED:
        pytest.skip("installed without a C compiler: there is no compiled function")
    monkeypatch.setattr(coil_maps, "IS_COMPILED", request.param == "compiled")
    return request.param


@pytest.mark.parametrize("shape", [(1, 9, 12), (1, 5, 6), (4, 9, 8)])
@pytest.mark.parametrize("n_coils", [1, 3])
def test_inati_is_three_power_iterations_in_periodic_neighbourhoods(shape, n_coils, implementation, rng):
    images = complex_noise(rng, n_coils, *shape)
    assert relative_difference(coil_map_inati(images, 5, 3), plain_inati(images, 5, 3)) < 2e-5


@pytest.mark.parametrize("shape", [(1, 9, 70), (3, 6, 150), (1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("kernels", [(1, 1), (2, 2), (7, 5), (9, 11)])
@pytest.mark.parametrize("n_coils", [2, 5])
@needs_compiled
def test_compiled_and_numpy_give_the_same_maps(n_coils, kernels, shape, rng, monkeypatch):
    images = complex_noise(rng, n_coils, *shape) + np.linspace(0.1, 10, shape[2], dtype=np.float32)
    compiled = coil_map_inati(images, *kernels)
    monkeypatch.setattr(coil_maps, "IS_COMPILED", False)
    assert relative_difference(compiled, coil_map_inati(images, *kernels)) < 2e-5


@needs_compiled
def test_dark_pixels_beside_bright_ones_keep_their_precision(rng, monkeypatch):
    images = complex_noise(rng, 4, 1, 24, 24)
    images[..., :8] *= 1e6
    compiled = coil_map_inati(images, 5)
    monkeypatch.setattr(coil_maps, "IS_COMPILED", False)
    dark = (..., slice(10, 22))
    assert relative_difference(compiled[dark], coil_map_inati(images, 5)[dark]) < 2e-5


@pytest.mark.parametrize("shape", [(2, 12, 10), (1, 12, 10), (1, 11, 70), (1, 10, 10), (1, 40, 9), (1, 3, 3)])
@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_maps_may_take_the_place_of_the_images(kernel, shape, implementation, rng):
    images = complex_noise(rng, 3, *shape)
    expected = coil_map_inati(images, kernel)
    place = np.zeros((3, *shape[:2], 2 * shape[2]), np.complex64)[..., ::2]
    np.testing.assert_array_equal(coil_map_inati(images, kernel, out=place), expected)
    assert coil_map_inati(images, kernel, out=images) is images
    np.testing.assert_array_equal(images, expected)


@needs_compiled
def test_the_compiled_function_refuses_to_overwrite_what_it_still_needs(rng):
    for shape, widths in (((2, 3, 20, 8), (3, 3, 3)), ((2, 1, 6, 8), (1, 3, 3))):
        images = complex_noise(rng, *shape)
        with pytest.raises(ValueError, match="in the place of images"):
            coil_maps._coil_maps.estimate_maps(images, images, widths, 3)


def test_images_may_be_of_any_kind_and_aligned_to_nothing(implementation, rng):
    images = complex_noise(rng, 3, 1, 12, 10)
    expected = coil_map_inati(images)
    block = np.zeros(images.nbytes + 8, np.uint8)
    unaligned = block[3 : 3 + images.nbytes].view(np.complex64).reshape(images.shape)
    unaligned[...] = images
    for same in (unaligned, images.astype(np.complex128), images.astype(">c8")):
        np.testing.assert_allclose(coil_map_inati(same), expected, atol=1e-6)
    assert coil_map_inati(unaligned, out=unaligned) is unaligned
    np.testing.assert_allclose(unaligned, expected, atol=1e-6)


def test_no_pixels_have_no_maps(implementation):
    assert coil_map_inati(np.zeros((3, 1, 0, 8), np.complex64)).shape == (3, 1, 0, 8)


@needs_compiled
@pytest.mark.parametrize(
    ("images", "maps", "widths", "iterations"),
    [
        (np.zeros((2, 1, 8, 8), np.complex128), np.zeros((2, 1, 8, 8), np.complex64), (1, 3, 3), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 7), np.complex64), (1, 3, 3), 3),
        (np.zeros((2, 8, 8), np.complex64), np.zeros((2, 8, 8), np.complex64), (1, 3, 3), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 8), np.complex64), (1, 4, 3), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 8), np.complex64), (1, -3, 3), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 8), np.complex64), (1, 3, 2**62 + 1), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 8), np.complex64), (1, 1025, 3), 3),
        (np.zeros((2, 1, 8, 8), np.complex64), np.zeros((2, 1, 8, 8), np.complex64), (1, 3, 3), -1),
        (np.zeros((2, 1, 8, 16), np.complex64)[..., ::2], np.zeros((2, 1, 8, 8), np.complex64), (1, 3, 3), 3),
    ],
)
def test_the_compiled_function_refuses_what_it_cannot_read(images, maps, widths, iterations):
    with pytest.raises((ValueError, BufferError)):
        coil_maps._coil_maps.estimate_maps(images, maps, widths, iterations)


def test_blocks_make_no_difference(rng, monkeypatch):
    images = complex_noise(rng, 4, 3, 20, 16)
    monkeypatch.setattr(coil_maps, "IS_COMPILED", False)
    expected = coil_map_inati(images)
    monkeypatch.setattr(coil_maps, "BLOCK", (2, 7, 5))
    assert relative_difference(coil_map_inati(images), expected) < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_maps_of_noiseless_coils_combine_them_to_the_object(method, implementation):
    shape = (1, 48, 40)
    sensitivities = smooth_sensitivities(6, shape)
    y, x = np.meshgrid(np.linspace(-1, 1, shape[1]), np.linspace(-1, 1, shape[2]), indexing="ij")
    magnitude = 1 + 0.5 * np.cos(3 * x) * np.cos(2 * y)
    images = (sensitivities * magnitude).astype(np.complex64)
    maps = method(images)
    np.testing.assert_allclose(np.linalg.norm(maps, axis=0), 1, atol=1e-5)
    combined = np.abs((maps.conj() * images).sum(axis=0))
    inside = (slice(None), slice(6, -6), slice(6, -6))  # neighbourhoods continue at the opposite border
    assert relative_difference(combined[inside], np.broadcast_to(magnitude, shape)[inside]) < 0.01


@pytest.mark.parametrize("method", METHODS)
def test_the_map_of_one_coil_has_unit_norm(method, implementation, rng):
    maps = method(complex_noise(rng, 1, 1, 16, 16))
    np.testing.assert_allclose(np.abs(maps), 1, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_zero_where_images_are_zero(method, implementation):
    images = np.zeros((3, 1, 24, 24), np.complex64)
    images[:, :, 10:14, 10:14] = 1
    maps = method(images)
    assert np.isfinite(maps).all()
    assert not maps[:, 0, 0, 0].any()


def test_images_are_not_changed(rng):
    images = complex_noise(rng, 3, 1, 8, 8)
    before = images.copy()
    coil_map_inati(images)
    coil_map_inati_iterative(images)
    np.testing.assert_array_equal(images, before)
