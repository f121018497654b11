"""Reading pictures of every kind, and the features of `pixels` on pictures whose answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.context import RunContext
from bench.images import Unreadable, grey, read, scale, why_unreadable
from systems.encoders import pixels
from systems.encoders.pixels import BRIGHTNESS_CELLS, CELLS, DIRECTIONS, SIDE, Pixels, features, square

RAMP = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (48, 1))


def save(path: Path, values: np.ndarray, **options: object) -> Path:
    Image.fromarray(values).save(path, **options)
    return path


# ------------------------------------------------------------------ reading


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (np.array([[0, 128, 255]], np.uint8), [0, 128, 255]),
        (np.array([[0, 200, 255]], np.uint16), [0, 200, 255]),  # 8-bit values in a 16-bit file
        (np.array([[0, 2048, 4095]], np.uint16), [0, 128, 255]),  # 12 bits in use
        (np.array([[0, 2048, 3500]], np.uint16), [0, 128, 218]),
        (np.array([[0, 32768, 65535]], np.uint16), [0, 128, 255]),
        (np.array([[-5, 0, 70000]], np.int32), [0, 0, 68]),  # 18 bits: 70000 / 262143 * 255
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[3.0, 3.0, 3.0]], np.float32), [0, 0, 0]),
    ],
)
def test_grey_values_are_scaled_by_the_bits_in_use(values: np.ndarray, wanted: list[int]) -> None:
    assert scale(values).tolist() == [wanted]


def test_sixteen_bit_png_keeps_its_contrast(tmp_path: Path) -> None:
    deep = (RAMP.astype(np.uint16) * 16 + 15).astype(np.uint16)  # 15 … 4095
    found = np.asarray(read(save(tmp_path / "deep.png", deep)))
    assert np.abs(found.astype(int) - RAMP).max() <= 1
    assert np.abs(np.asarray(read(save(tmp_path / "deep.tif", deep))).astype(int) - RAMP).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "mode"),
    [
        *(("tif", mode) for mode in ("L", "RGB", "RGBA", "LA", "P", "CMYK", "YCbCr")),
        *(("png", mode) for mode in ("L", "RGB", "RGBA", "LA", "P")),
        *(("jpg", mode) for mode in ("L", "RGB", "CMYK", "YCbCr")),
    ],
)
def test_every_mode_gives_the_same_radiograph(tmp_path: Path, suffix: str, mode: str) -> None:
    path = tmp_path / f"film.{suffix}"
    Image.fromarray(RAMP).convert(mode).save(path)
    found = read(path)
    assert found.mode in ("L", "RGB")
    assert np.abs(grey(found).astype(int) - RAMP).max() <= 3


def test_one_bit_pictures_are_black_and_white(tmp_path: Path) -> None:
    path = save(tmp_path / "bits.png", RAMP > 127)
    assert set(np.unique(np.asarray(read(path)))) == {0, 255}


def test_transparent_parts_become_black(tmp_path: Path) -> None:
    values = np.full((4, 4, 4), 200, np.uint8)
    values[:2, :, 3], values[2:, :, 3] = 0, 255
    found = np.asarray(read(save(tmp_path / "clear.png", values)))
    assert found[:2].max() == 0
    assert found[2:].min() == 200


def test_palette_with_a_transparent_colour(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    picture.putpalette([255, 255, 255, 90, 90, 90])
    picture.save(tmp_path / "p.png", transparency=0)
    assert np.asarray(read(tmp_path / "p.png")).tolist() == [[[0, 0, 0], [90, 90, 90]]]


def test_pictures_stand_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: show it turned 90 degrees clockwise
    path = save(tmp_path / "turned.png", RAMP, exif=exif)
    assert np.array_equal(np.asarray(read(path)), np.rot90(RAMP, -1))


def test_why_a_file_cannot_be_read(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)
    whole = save(tmp_path / "whole.jpg", noise).read_bytes()
    cases = {
        "cut.jpg": (whole[: len(whole) // 2], "image file is truncated"),
        "text.png": (b"not a picture", "cannot identify image file"),
        "empty.jpg": (b"", "cannot identify image file"),
    }
    for name, (content, why) in cases.items():
        path = tmp_path / name
        path.write_bytes(content)
        assert why in (why_unreadable(path) or "")
        with pytest.raises(Unreadable):
            read(path)
    assert why_unreadable(tmp_path / "gone.jpg") == "No such file or directory"
    assert why_unreadable(tmp_path) == "Is a directory"
    assert why_unreadable(tmp_path / "whole.jpg") is None


def test_damaged_files_of_every_format_are_unreadable_not_a_crash(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for suffix in ("png", "jpg", "tif", "gif", "bmp"):
        whole = save(tmp_path / f"whole.{suffix}", RAMP).read_bytes()
        for trial in range(25):
            content = bytearray(whole[: int(rng.integers(1, len(whole) + 1))])
            for place in rng.integers(0, len(content), 6):
                content[place] = int(rng.integers(256))
            path = tmp_path / f"{trial}.{suffix}"
            path.write_bytes(content)
            why = why_unreadable(path)
            assert why is None or why


# ------------------------------------------------------------------ features


@pytest.fixture
def encoder(context: RunContext) -> Pixels:
    return Pixels(Pixels.Options(), context)


def films(folder: Path, n: int) -> list[Path]:
    rng = np.random.default_rng(3)
    shapes = [(240, 272), (300, 200), (64, 64), (500, 512), (33, 400)]
    return [save(folder / f"{i}.png", rng.integers(0, 256, shapes[i % len(shapes)], np.uint8)) for i in range(n)]


def test_a_row_is_the_same_alone_and_in_any_company(tmp_path: Path, encoder: Pixels) -> None:
    paths = films(tmp_path, 12)
    together = encoder.encode(paths)
    assert together.shape == (12, encoder.dim) == (12, 768)
    assert together.dtype == np.float32
    np.testing.assert_array_equal(encoder.encode(paths[::-1])[::-1], together)
    for path, row in zip(paths, together, strict=True):
        np.testing.assert_array_equal(encoder.encode([path])[0], row)
    assert encoder.encode([]).shape == (0, 768)


def test_an_unreadable_file_is_a_row_of_nan(tmp_path: Path, encoder: Pixels) -> None:
    paths = films(tmp_path, 2)
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(paths[0].read_bytes()[:60])
    rows = encoder.encode([paths[0], bad, paths[1]])
    assert np.isnan(rows).all(1).tolist() == [False, True, False]
    assert encoder.why_unreadable(bad)
    assert encoder.why_unreadable(paths[0]) is None


def test_rows_have_unit_size_and_even_pictures_none() -> None:
    rng = np.random.default_rng(0)
    row = features(rng.random((SIDE, SIDE), np.float32))
    assert np.sqrt(np.mean(row.astype(float) ** 2)) == pytest.approx(1, abs=1e-5)
    assert not features(np.full((SIDE, SIDE), 0.7, np.float32)).any()


@pytest.mark.parametrize("size", [(1, 1), (3, 900), (900, 3), (192, 192)])
def test_odd_shapes_give_finite_rows(tmp_path: Path, encoder: Pixels, size: tuple[int, int]) -> None:
    values = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    assert np.isfinite(encoder.encode([save(tmp_path / "odd.png", values)])).all()


def test_exposure_does_not_matter() -> None:
    film = _chest(np.random.default_rng(0), wet=True) // 3
    dark, bright = (features(square(Image.fromarray(values))) for values in (film, 2 * film + 40))
    assert np.corrcoef(dark, bright)[0, 1] > 0.999


def _parts(row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    edges, lines = DIRECTIONS * CELLS[0] * CELLS[1], pixels.LINE_ANGLES * CELLS[0] * CELLS[1]
    return (
        row[:edges].reshape(DIRECTIONS, *CELLS),
        row[edges : edges + lines].reshape(-1, *CELLS),
        row[edges + lines :].reshape(BRIGHTNESS_CELLS),
    )


@pytest.mark.parametrize(
    ("angle", "direction"),
    [((0, 1), 0), ((1, 1), 1), ((1, 0), 2), ((1, -1), 3), ((0, -1), 4), ((-1, -1), 5), ((-1, 0), 6), ((-1, 1), 7)],
)
def test_edges_point_from_dark_to_bright(angle: tuple[int, int], direction: int) -> None:
    """A step through the middle, bright towards (down, across) = angle, is found in that direction's channel there."""
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    edges, _, brightness = _parts(features(np.asarray(angle[0] * y + angle[1] * x > 0, np.float32)))
    middle = edges[:, 3:5, 2:4].sum((1, 2))
    assert middle.argmax() == direction
    towards = brightness[8 + 4 * angle[0] - (angle[0] < 0), 6 + 3 * angle[1] - (angle[1] < 0)]
    assert towards > brightness[8 - 4 * angle[0] - (angle[0] > 0), 6 - 3 * angle[1] - (angle[1] > 0)]


@pytest.mark.parametrize(("tilt", "channel"), [((1, 0), 0), ((1, -1), 1), ((0, 1), 2), ((1, 1), 3)])
def test_a_thin_line_is_found_at_its_angle_and_place(tilt: tuple[int, int], channel: int) -> None:
    """A bright line along (down, across) = tilt in the upper left quarter curves down across it."""
    values = np.full((SIDE, SIDE), 0.3, np.float32)
    for step in range(-20, 21):
        values[44 + step * tilt[0], 44 + step * tilt[1]] = 1
    _, lines, _ = _parts(features(values))
    place = np.unravel_index(lines[channel].argmax(), CELLS)
    assert lines[:, place[0], place[1]].argmax() == channel
    assert (place[0] + 0.5) / CELLS[0] == pytest.approx(44 / SIDE, abs=0.15)
    assert (place[1] + 0.5) / CELLS[1] == pytest.approx(44 / SIDE, abs=0.15)


def _chest(rng: np.random.Generator, wet: bool) -> np.ndarray:
    """A crude film at a random place and exposure: two dark lungs in a bright body, the right base bright if wet."""
    y, x = np.mgrid[:200, :200] + rng.normal(0, 4, 2)[:, None, None]
    film = np.where(np.abs(x - 100) < 80, 0.8, 0.1) * np.ones_like(y)
    for middle in (65, 135):
        film[((x - middle) / 24) ** 2 + ((y - 95) / 60) ** 2 < 1] = 0.3
    if wet:
        film[(((x - 65) / 24) ** 2 + ((y - 95) / 60) ** 2 < 1) & (y > 115)] = 0.7
    noisy = film * rng.uniform(0.7, 1) + rng.normal(0, 0.03, film.shape)
    return np.clip(255 * noisy, 0, 255).astype(np.uint8)


def test_neighbours_share_the_finding_despite_shift_and_noise() -> None:
    rng = np.random.default_rng(5)
    wet = np.arange(40) % 2 == 0
    rows = np.array([features(square(Image.fromarray(_chest(rng, bool(w))))) for w in wet])
    distance = ((rows[:, None] - rows) ** 2).sum(-1) + np.diag(np.full(40, np.inf))
    assert (wet[distance.argmin(1)] == wet).mean() > 0.95


def test_it_is_registered_as_a_stand_in_for_rad_dino() -> None:
    found = registry.find("encoder", "pixels")
    assert found.plugin is Pixels
    assert Pixels.stand_in == "rad-dino"
    assert registry.help_line(Pixels)


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 4, 2.0])
def test_curvature_across_an_angle_is_exact_on_a_parabola(angle: float) -> None:
    """Of -(x cos t + y sin t)^2 / 2, the curvature across angle s is cos^2(t - s)."""
    y, x = np.mgrid[:20, :20].astype(np.float32)
    along = (x * np.cos(angle) + y * np.sin(angle)).astype(np.float32)
    slopes = (np.float32(-np.cos(angle)) * along, np.float32(-np.sin(angle)) * along)
    found = pixels._lines(*slopes)[:, 10, 10]
    across = np.pi * np.arange(pixels.LINE_ANGLES) / pixels.LINE_ANGLES
    np.testing.assert_allclose(found, np.cos(angle - across) ** 2, atol=1e-5)


def test_the_square_is_the_centre_stretched_between_its_percentiles() -> None:
    wide = np.pad(np.tile(np.arange(50, 250, dtype=np.uint8), (200, 1)), ((0, 0), (40, 40)))
    found = square(Image.fromarray(wide))
    assert found.shape == (SIDE, SIDE)
    np.testing.assert_allclose(found[0], np.clip(np.linspace(-0.01, 1.01, SIDE), 0, 1), atol=0.02)


def test_a_transparent_grey_level(tmp_path: Path) -> None:
    path = save(tmp_path / "level.png", np.array([[0, 90, 255]], np.uint8), transparency=255)
    assert grey(read(path)).tolist() == [[0, 90, 0]]
