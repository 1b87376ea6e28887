import numpy as np
import pytest
import torch
from PIL import Image

from lit_rnncomp.data import ImageError, photographs, read_image, sample_photographs
from lit_rnncomp.data.photographs import PictureCache, RandomCrops, WholePictures, _resample, find_pictures, hold_out
from lit_rnncomp.data.sampling import ResumableLoader, as_is
from lit_rnncomp.data.shared import SharedPictures, can_share
from lit_rnncomp.images import to_signal


@pytest.fixture
def ramps(tmp_path):
    """Three pictures whose pixels tell where they come from: red = picture, green = row, blue = column."""
    for number in range(3):
        rows, columns = np.mgrid[0:40, 0:50].astype(np.uint8)
        Image.fromarray(np.stack([np.full_like(rows, number), rows, columns], -1)).save(tmp_path / f"{number}.png")
    return find_pictures(tmp_path)


def test_the_signal_spans_minus_one_to_one():
    signal = to_signal(torch.tensor([0, 51, 255], dtype=torch.uint8))
    torch.testing.assert_close(signal, torch.tensor([-1.0, -0.6, 1.0]))


def test_crops_are_cut_from_the_picture(ramps):
    crops = RandomCrops(ramps, patch=8, scale=(1, 1), flips=False)
    places = set()
    for position in range(60):
        crop = crops[position]
        assert crop.shape == (3, 8, 8) and crop.dtype == torch.uint8
        number, top, left = (int(value) for value in crop[:, 0, 0])
        whole = torch.from_numpy(np.array(read_image(ramps[number]))).permute(2, 0, 1)
        torch.testing.assert_close(crop, whole[:, top : top + 8, left : left + 8])
        places.add((top, left))
    assert len(places) > 50


def test_crops_reach_every_border(ramps):
    crops = RandomCrops(ramps, patch=36, scale=(1, 1), flips=False)
    corners = crops.__getitems__(range(1000))[:, 1:, 0, 0]
    assert corners[:, 0].unique().tolist() == list(range(40 - 36 + 1))
    assert corners[:, 1].unique().tolist() == list(range(50 - 36 + 1))


def test_each_run_through_the_pictures_visits_each_once(ramps):
    crops = RandomCrops(ramps, patch=8, seed=4)
    numbers = crops.__getitems__(range(30))[:, 0].float().mean((1, 2)).round().reshape(10, 3)
    np.testing.assert_array_equal(numbers.sort(dim=1).values, np.tile([0, 1, 2], (10, 1)))
    assert len({tuple(row) for row in numbers.tolist()}) > 1


def test_content_is_a_function_of_seed_and_position(ramps):
    positions = [7, 3, 10_000_000_000, 0]
    first = RandomCrops(ramps, patch=8, seed=1)
    first.__getitems__(range(50))
    second = RandomCrops(ramps, patch=8, seed=1, cache_mb=0)
    torch.testing.assert_close(
        first.__getitems__(positions), torch.stack([second[p] for p in positions]), rtol=0, atol=0
    )
    assert not torch.equal(first.__getitems__(positions), RandomCrops(ramps, patch=8, seed=2).__getitems__(positions))


def test_flips_mirror_half_of_the_crops_each_way(ramps):
    plain = RandomCrops(ramps, patch=8, scale=(1, 1), flips=False).__getitems__(range(400))
    flipped = RandomCrops(ramps, patch=8, scale=(1, 1), flips=True).__getitems__(range(400))
    ways = [
        sum(torch.equal(f, p.flip(axes)) for f, p in zip(flipped, plain, strict=True))
        for axes in ([], [1], [2], [1, 2])
    ]
    assert sum(ways) == 400
    assert all(abs(way - 100) < 45 for way in ways), ways  # five standard deviations


@pytest.mark.parametrize(("factor", "place"), [(0.5, (20, 30)), (0.6, (10, 3)), (0.6, (0, 0)), (0.6, (276, 276))])
def test_a_scaled_crop_is_a_crop_of_the_scaled_picture(factor, place):
    picture = read_image(sample_photographs()[0]).crop((0, 0, 500, 500))
    side = round(500 * factor)
    scaled = np.asarray(picture.resize((side, side), Image.Resampling.BICUBIC)).astype(int)
    top, left = min(place[0], side - 24), min(place[1], side - 24)
    crop = _resample(np.asarray(picture), top / factor, left / factor, 24 / factor, 24)
    assert np.abs(crop - scaled[top : top + 24, left : left + 24]).max() <= 1  # places are rounded differently


def test_the_range_of_scales_is_used(ramps):
    crops = RandomCrops(ramps, patch=8, scale=(0.5, 1.0), flips=False).__getitems__(range(300)).float()
    steps = (crops[:, 2, 4, -3] - crops[:, 2, 4, 2]) / 3  # columns of the picture a pixel of the crop: 1 / factor
    assert steps.min() + 0.35 >= 1.0 and steps.min() < 1.2
    assert 1.7 < steps.max() <= 2.35


def test_a_picture_just_large_enough_is_not_scaled(ramps):
    crops = RandomCrops(ramps, patch=40, scale=(0.5, 0.5), flips=False)
    crop = crops[0]
    torch.testing.assert_close(crop[1, :, 0], torch.arange(40, dtype=torch.uint8))


def test_bad_pictures_are_named_once_and_replaced(ramps):
    folder = ramps[0].parent
    (folder / "bad.png").write_text("no picture")
    Image.new("RGB", (50, 5)).save(folder / "tiny.png")
    crops = RandomCrops(find_pictures(folder), patch=8)
    with pytest.warns(UserWarning) as caught:
        crops.__getitems__(range(40))
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    assert "tiny.png is 50x5, smaller than 8 pixels" in messages[0]
    assert "bad.png: not a picture" in messages[1]
    strict = RandomCrops(find_pictures(folder), patch=8, strict=True)
    with pytest.raises(ImageError, match=r"bad\.png|tiny\.png"):
        strict.__getitems__(range(5))


@pytest.mark.filterwarnings("ignore:skipped")
def test_nothing_to_crop_is_an_error(ramps):
    with pytest.raises(ImageError, match=r"none of the 3 training pictures .* can be cropped to 41 pixels"):
        RandomCrops(ramps, patch=41)[0]


@pytest.mark.parametrize(
    ("options", "message"), [({"patch": 0}, "patch is 0"), ({"scale": (0.5, 1.5)}, "scale is"), ({"paths": []}, "no ")]
)
def test_wrong_options_are_named(ramps, options, message):
    with pytest.raises(ValueError, match=message):
        RandomCrops(**{"paths": ramps, **options})


def test_the_cache_keeps_within_its_bounds(ramps):
    size = 40 * 50 * 3
    cache = PictureCache(2.5 * size / 1e6, strict=True)
    first = [cache.read(path, 1) for path in ramps]
    again = [cache.read(path, 1) for path in ramps]
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True, False]
    assert cache.room == int(2.5 * size) - 2 * size


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.skipif(not can_share(), reason="processes are not forked here")
def test_workers_share_what_one_of_them_decoded(tmp_path, monkeypatch):
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    read, log = photographs.read_image, tmp_path / "decoded.txt"

    def logged(path):
        with log.open("a") as file:
            file.write(f"{path.name}\n")
        return read(path)

    def batches(workers, cache_mb):
        log.write_text("")
        crops = RandomCrops(find_pictures(list(tmp_path.glob("*.png"))), patch=8, cache_mb=cache_mb)
        if workers:
            crops.share(workers)
        loader = ResumableLoader(crops, 48, 4, collate_fn=as_is, num_workers=workers, persistent_workers=workers > 0)
        found, decoded = [], []
        for epoch in range(3):
            loader.epoch_sampler.set_epoch(epoch)
            found += list(loader)
            decoded.append(len(log.read_text().splitlines()))
        return torch.stack(found), decoded

    monkeypatch.setattr(photographs, "read_image", logged)
    alone, once = batches(0, 1)
    assert once == [12, 12, 12]
    together, decoded = batches(3, 1)
    torch.testing.assert_close(together, alone, rtol=0, atol=0)
    # Two may decode the same picture at the same moment; after a run through all of them nobody decodes any.
    assert decoded[0] == decoded[2] < 3 * 12
    room = 5.5 * 40 * 50 * 3 / 1e6
    bounded, again = batches(3, room)
    torch.testing.assert_close(bounded, alone, rtol=0, atol=0)
    assert again[2] - again[1] == 48 - 48 // 12 * 5, "five of twelve are kept"


def test_shared_pictures_keep_within_their_room():
    first, second = (np.full((4, 5, 3), value, np.uint8) for value in (1, 2))
    shared = SharedPictures(3, 100)
    assert shared.read(0) is None
    shared.keep(2, first)
    shared.keep(0, second)
    np.testing.assert_array_equal(shared.read(2), first)
    assert shared.read(0) is None, "there was no room"
    shared.keep(2, second)
    np.testing.assert_array_equal(shared.read(2), first)


def test_whole_pictures_are_cropped_around_the_centre(ramps):
    pictures = WholePictures(ramps, multiple=16)
    assert len(pictures) == 3
    assert pictures[1].shape == (3, 32, 48)
    assert pictures[1][:, 0, 0].tolist() == [1, 4, 1]
    assert WholePictures(ramps, multiple=16, max_side=33)[0].shape == (3, 32, 32)
    assert WholePictures(ramps, multiple=1)[2].shape == (3, 40, 50)


def test_unreadable_whole_pictures_are_left_out_at_the_start(ramps):
    (ramps[0].parent / "bad.png").write_text("no picture")
    paths = find_pictures(ramps[0].parent)
    with pytest.warns(UserWarning, match=r"skipped: cannot read .*bad\.png"):
        assert len(WholePictures(paths)) == 3
    with pytest.raises(ImageError, match=r"bad\.png"):
        WholePictures(paths, strict=True)
    with pytest.warns(UserWarning), pytest.raises(ImageError, match="none of 4 pictures is readable and at least 64"):
        WholePictures(paths, multiple=64)


def test_pictures_are_found_in_folders_and_lists(ramps):
    folder = ramps[0].parent
    assert find_pictures(str(folder)) == ramps
    assert find_pictures([ramps[2], ramps[0]]) == [ramps[2], ramps[0]]
    (folder / "empty").mkdir()
    with pytest.raises(ImageError, match=r"no pictures in .*empty"):
        find_pictures(folder / "empty")


def test_the_held_out_pictures_depend_on_names_only(tmp_path):
    paths = [tmp_path / f"{number:03}.png" for number in range(100)]
    train, held = hold_out(paths, 32)
    assert len(held) == 32 and not set(train) & set(held) and sorted(train + held) == paths
    elsewhere = [tmp_path / "sub" / path.name for path in reversed(paths)]
    assert {path.name for path in hold_out(elsewhere, 32)[1]} == {path.name for path in held}
    more = hold_out([*paths, tmp_path / "new.png"], 32)[1]
    assert len(set(more) - set(held)) <= 1
    with pytest.raises(ValueError, match="cannot hold out 99 of 100 pictures"):
        hold_out(paths, 99)
