"""Reading of images, training pairs, and the crops cut from them."""

import numpy as np
import pytest
import torch
from image_files import make_exif, png_16
from PIL import Image

from srcnn_fused import data, reference
from srcnn_fused.errors import UserError
from srcnn_fused.training.crops import CropSampler


def save(path, array, **options):
    Image.fromarray(np.asarray(array, dtype=np.uint8)).save(path, **options)
    return path


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_images_are_listed_by_name_without_other_files_and_subfolders(tmp_path):
    for name in ("b.png", "a.JPG", "c.bmp"):
        save(tmp_path / name, noise(4, 4))
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "sub.png").mkdir()
    assert [p.name for p in data.list_images(tmp_path)] == ["a.JPG", "b.png", "c.bmp"]


def test_a_missing_or_empty_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist: a folder of images is needed"):
        data.list_images(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"has no image \(\.bmp"):
        data.list_images(tmp_path)
    file = save(tmp_path / "a.png", noise(4, 4))
    with pytest.raises(UserError, match=r"a\.png is not a folder"):
        data.list_images(file)


def test_grey_colour_palette_and_alpha_are_read(tmp_path):
    rgb = noise(5, 7, 3)
    image = data.read_image(save(tmp_path / "rgb.png", rgb))
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.permute(1, 2, 0), rgb)
    np.testing.assert_array_equal(
        data.read_image(save(tmp_path / "g.png", rgb[..., 0]))[0], rgb[..., 0]
    )
    rgba = np.concatenate([rgb, noise(5, 7, 1, seed=1)], axis=-1)
    np.testing.assert_array_equal(
        data.read_image(save(tmp_path / "rgba.png", rgba)).permute(1, 2, 0), rgb
    )
    Image.fromarray(rgb).quantize(256).save(tmp_path / "palette.png")
    assert data.read_image(tmp_path / "palette.png").shape == (3, 5, 7)


def test_16_bit_grey_is_rounded_to_8_bits(tmp_path):
    deep = np.array([[0, 128, 129, 257 * 77, 65535]], dtype=np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert data.read_image(tmp_path / "deep.png").tolist() == [[[0, 0, 1, 77, 255]]]


def test_exif_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    save(tmp_path / "turned.png", noise(4, 6), exif=exif)
    assert data.read_image(tmp_path / "turned.png").shape == (1, 6, 4)


def test_damaged_files_are_named(tmp_path):
    whole = save(tmp_path / "whole.png", noise(64, 64, 3)).read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("hello")
    for name, reason in (("cut.png", "cannot be read: "), ("text.png", "is not an image")):
        with pytest.raises(UserError, match=rf"{name}: {reason}"):
            data.read_image(tmp_path / name)
    with pytest.raises(UserError, match=r"gone\.png: no such file"):
        data.read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("suffix", [".jpg", ".webp", ".png", ".tif"])
def test_flipped_bytes_give_an_image_or_a_message(tmp_path, suffix):
    """Whatever is damaged, the EXIF above all: nothing but a UserError that names the file."""
    whole = bytearray(
        save(tmp_path / f"a{suffix}", noise(16, 16, 3), exif=make_exif()).read_bytes()
    )
    at = whole.find(b"MM\0*") if suffix != ".tif" else 0
    path = tmp_path / f"b{suffix}"
    random = np.random.default_rng(0)
    for _ in range(150):
        broken = whole.copy()
        for position in random.integers(at, min(at + 140, len(broken)), 2):
            broken[position] = random.integers(256)
        path.write_bytes(broken)
        try:
            image = data.read_image(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017  raising is not required
        else:
            assert image.dtype == torch.uint8


@pytest.mark.parametrize("orientation", [1, 6])
def test_16_bit_colours_are_rounded_to_8_bits(tmp_path, orientation):
    deep = np.random.default_rng(0).integers(0, 65536, (4, 6, 3), np.uint16)
    exif = make_exif(orientation)[6:]
    (tmp_path / "deep.png").write_bytes(png_16(deep, [(b"eXIf", exif)]))
    expected = np.floor(deep / 257 + 0.5).astype(np.uint8)
    if orientation == 6:
        expected = np.rot90(expected, -1)
    got = data.read_image(tmp_path / "deep.png").permute(1, 2, 0)
    np.testing.assert_array_equal(got, expected)


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
    path = save(tmp_path / "bomb.png", noise(20, 20))
    monkeypatch.setattr(data, "MAX_PIXELS", 399)
    monkeypatch.setattr(data, "read_picture", None)
    with pytest.raises(UserError, match=r"bomb\.png: 20x20 is 400 pixels, above the limit of 399"):
        data.read_image(path)


def test_luma_is_matlabs_and_grey_stays_as_it_is():
    white_black = torch.tensor([[255, 0]], dtype=torch.uint8).expand(3, 1, 2)
    assert data.luma8(white_black).tolist() == [[235, 16]]
    assert data.luma8(white_black[:1]).tolist() == [[255, 0]]


def test_crop_to_multiple_cuts_right_and_bottom():
    image = torch.arange(70).reshape(1, 7, 10)
    assert torch.equal(data.crop_to_multiple(image, 3), image[:, :6, :9])
    assert torch.equal(data.crop_to_multiple(image, 1), image)


def test_pairs_hold_the_truth_and_its_bicubic_copy(tmp_path):
    save(tmp_path / "a.png", noise(31, 44))
    (pair,) = data.load_pairs([tmp_path], 3)
    assert pair.truth.shape == (1, 30, 42)
    np.testing.assert_array_equal(pair.truth[0], noise(31, 44)[:30, :42])
    low = reference.bicubic_resize(pair.truth.double() / 255, size=(10, 14))
    expected = reference.bicubic_resize(low, scale=3)
    torch.testing.assert_close(pair.enlarged, expected.float())


def test_rescaling_adds_four_smaller_copies(tmp_path):
    save(tmp_path / "a.png", noise(40, 60))
    pairs = data.load_pairs([tmp_path], 2, rescale=True)
    shapes = [tuple(pair.truth.shape[1:]) for pair in pairs]
    assert shapes == [(40, 60), (36, 54), (32, 48), (28, 42), (24, 36)]


def test_images_too_small_for_a_crop_are_left_out(tmp_path):
    save(tmp_path / "large.png", noise(40, 40))
    save(tmp_path / "small.png", noise(10, 40))
    seen = []
    pairs = data.load_pairs([tmp_path], 2, min_side=20, progress=lambda *a: seen.append(a))
    assert [pair.name for pair in pairs] == ["large.png@1.0"]
    assert seen == [(1, 2), (2, 2)]
    with pytest.raises(UserError, match=r"large enough for a crop: 50x50 pixels needed"):
        data.load_pairs([tmp_path], 2, min_side=50)


def pair_of(truth):
    """A pair whose input is the truth itself: shows whether crops are aligned."""
    truth = torch.as_tensor(truth, dtype=torch.uint8)
    truth = truth if truth.dim() == 3 else truth[None]
    return data.TrainingPair("pair", truth.float() / 255, truth)


def test_crops_are_aligned_with_their_margin():
    sampler = CropSampler([pair_of(noise(30, 40)), pair_of(noise(21, 90, seed=1))], 9, 6)
    x, target = sampler.batch(64, torch.Generator().manual_seed(0))
    assert x.shape == (64, 1, 21, 21)
    assert target.shape == (64, 1, 9, 9)
    torch.testing.assert_close(x[..., 6:-6, 6:-6], target)


def test_pairs_of_three_channels_are_rgb(tmp_path):
    rgb = noise(12, 14, 3)
    save(tmp_path / "a.png", rgb)
    save(tmp_path / "b.png", rgb[..., 0])
    colour, grey = data.load_pairs([tmp_path], 2, num_channels=3)
    np.testing.assert_array_equal(colour.truth.permute(1, 2, 0), rgb)
    np.testing.assert_array_equal(grey.truth, np.broadcast_to(rgb[..., 0], (3, 12, 14)))
    assert torch.equal(colour.enlarged[0], grey.enlarged[1])


def test_crops_of_three_channels_are_aligned_with_each_other_and_the_target():
    sampler = CropSampler([pair_of(noise(3, 30, 40))], 9, 3)
    x, target = sampler.batch(64, torch.Generator().manual_seed(0))
    assert x.shape == (64, 3, 15, 15)
    torch.testing.assert_close(x[..., 3:-3, 3:-3], target)


def test_crops_reach_every_position_in_all_orientations():
    truth = torch.arange(12, dtype=torch.uint8).reshape(3, 4)
    sampler = CropSampler([pair_of(truth)], 2, 0)
    _, target = sampler.batch(2000, torch.Generator().manual_seed(0))
    found = {tuple(crop.mul(255).round().int().flatten().tolist()) for crop in target}
    assert len(found) == 6 * 8  # positions x orientations, all pixels being different


def test_crops_are_those_of_slicing_and_orienting():
    pairs = [pair_of(noise(3, 9, 12)), pair_of(noise(3, 10, 8, seed=1))]
    sampler = CropSampler(pairs, 4, 2)
    counts = [2 * 5, 3 * 1]  # positions of a crop of 8
    x, target = sampler.cut(torch.arange(8 * sum(counts)))
    for draw in range(8 * sum(counts)):
        position, orientation = divmod(draw, 8)
        image = int(position >= counts[0])
        row, column = divmod(position - image * counts[0], (5, 1)[image])
        crop = data.orient(pairs[image].truth[:, row : row + 8, column : column + 8], orientation)
        assert torch.equal(x[draw], crop / 255)
        assert torch.equal(target[draw], crop[:, 2:-2, 2:-2] / 255)


def test_positions_are_drawn_by_the_size_of_the_images():
    small = torch.zeros(4, 4, dtype=torch.uint8)  # 1 position
    large = torch.full((4, 12), 255, dtype=torch.uint8)  # 9 positions
    sampler = CropSampler([pair_of(small), pair_of(large)], 4, 0)
    _, target = sampler.batch(3000, torch.Generator().manual_seed(0))
    assert target.mean().item() == pytest.approx(0.9, abs=0.03)


def test_the_generators_state_decides_the_crops():
    sampler = CropSampler([pair_of(noise(30, 40))], 8, 2)
    generator = torch.Generator().manual_seed(3)
    sampler.batch(4, generator)
    state = generator.get_state()
    first = sampler.batch(4, generator)
    generator.set_state(state)
    again = sampler.batch(4, generator)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_a_pair_smaller_than_the_crop_is_refused():
    with pytest.raises(ValueError, match="pair is 40x10, smaller than a crop of 12"):
        CropSampler([pair_of(noise(10, 40))], 8, 2)


@pytest.mark.parametrize("orientation", range(8))
def test_flips_and_turns_commute_with_the_resampling(orientation):
    truth = torch.from_numpy(noise(12, 18))
    turned = data.orient(truth, orientation)

    def enlarged(image):
        return reference.bicubic_resize(data.shrink(image, 3, "matlab"), scale=3)

    torch.testing.assert_close(data.orient(enlarged(truth), orientation), enlarged(turned))
