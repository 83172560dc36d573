"""Which frame a mask belongs to: names first, numbers only where nothing else can be meant."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import InputError
from plugin.keyframes.frame_finder import FrameFinder, Mention

FROM_1 = [f"{i:05d}.jpg" for i in range(1, 7)]
LEXICOGRAPHIC = [f"img{i}.jpg" for i in range(1, 13)]  # the folder's own order, which counts
IN_FIVES = [f"{i:05d}.jpg" for i in range(0, 30, 5)]


def find(names, *mentioned, where="frames", unwanted=()):
    mentions = [m if isinstance(m, Mention) else Mention(m) for m in mentioned]
    return FrameFinder(0, names, where).find([*mentions, *(Mention(m, is_wanted=False) for m in unwanted)])[
        : len(mentions)
    ]


def refuses(names, *mentioned, **options):
    """The one line of the refusal."""
    with pytest.raises(InputError) as caught:
        find(names, *mentioned, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "mentioned", "frame"),
    [
        (FROM_1, "00001.jpg", 0),
        (FROM_1, "00006.png", 5),
        (IN_FIVES, "00005.png", 1),
        (LEXICOGRAPHIC, "img2.jpg", 1),
        (LEXICOGRAPHIC, "img12.PNG", 11),
        (["b.jpg", "c.jpg"], "b", 0),
        (FROM_1, "images/default/00002.jpg", 1),
        (FROM_1, r"C:\data\clip\00002.jpg", 1),
        (FROM_1, "00002.jpg.png", 1),
        (FROM_1, "00002_jpg.rf.0a1b2c3d4e5f60718293a4b5c6d7e8f9.jpg", 1),
        (FROM_1, "00002_jpg.rf.Xy3kQp81ZtB.jpg", 1),
        (FROM_1, "00002_jpg.rf.0a1b2c3d4e5f_mask.png", 1),
        (["00001_jpg.rf.aa.jpg", "00002_jpg.rf.bb.jpg"], "00002.jpg", 1),
        (["00001_jpg.rf.aa.jpg", "00002_jpg.rf.bb.jpg"], "00002_jpg.rf.cc.jpg", 1),
        (FROM_1, "3ab1f2c4-00002.jpg", 1),
        (["my clip 1.png", "my clip 2.png"], "my-clip-2_png.rf.0a1b2c.jpg", 1),
        (FROM_1, "00003_mask.png", 2),
        (FROM_1, "mask_00003.png", 2),
        (FROM_1, "3.png", 2),
        (["1.jpg", "2.jpg", "3.jpg"], "0003.png", 2),
        (["Été1.jpg", "Été2.jpg"], unicodedata.normalize("NFD", "Été2.png"), 1),
        ([unicodedata.normalize("NFD", "Été1.jpg"), "b.jpg"], "Été1.jpg", 0),
        (["IMG_1.JPG", "IMG_2.JPG"], "img_2.jpg", 1),
        (["img_2.jpg", "IMG_2.jpg"], "IMG_2.jpg", 1),
        (["a.b.1.jpg", "a.b.2.jpg"], "a.b.2.png", 1),
        (["00001.png", "00001.jpg"], "00001.jpg", 1),
        ([r"a\1.jpg", r"a\2.jpg"], r"a\2.jpg", 1),
        (["caf\udce9_1.jpg", "caf\udce9_2.jpg"], "caf\udce9_2.png", 1),  # bytes that are no UTF-8,
        (["caf\udce9_1.jpg", "caf\udce9_2.jpg"], r"caf\xe9_2.jpg", 1),  # and as Perclip's files have them
    ],
)
def test_names_find_their_own_picture(names, mentioned, frame):
    assert find(names, mentioned) == [frame]


@pytest.mark.parametrize(
    ("names", "mentioned", "says"),
    [
        (FROM_1, ["00000.png"], ["00000.png", "00001.jpg ... 00006.jpg"]),
        (FROM_1, ["00001.png", "00009.png"], ["00009.png", "00001.jpg ... 00006.jpg"]),
        (IN_FIVES, ["00003.png"], ["00003.png", "00000.jpg ... 00025.jpg"]),
        (IN_FIVES, ["mask7.png"], ["mask7.png", "00000.jpg ... 00025.jpg"]),
        (["a.jpg", "b.jpg"], ["c.png"], ["c.png", "a.jpg ... b.jpg"]),
        (["img_2.jpg", "IMG_2.jpg"], ["Img_2.png"], ["Img_2.png", "img_2.jpg or IMG_2.jpg"]),
        (["00001.png", "00001.jpg"], ["00001"], ["00001.png or 00001.jpg"]),
        (FROM_1, ["seg_a_1.png"], ["seg_a_1.png", "00001.jpg (by its number) or 00002.jpg (by its place)"]),
        # What Perclip and CVAT call the frame at place 1 is no name of 00001.jpg.
        (FROM_1, ["000001.png"], ["000001.png", "00001.jpg (by its number) or 00002.jpg (by its place)"]),
        (FROM_1, ["frame_000001.PNG"], ["frame_000001.PNG", "00001.jpg (by its number) or 00002.jpg (by its place)"]),
        (FROM_1, ["00001.png", "00001.bmp"], ["00001.png and 00001.bmp are two pictures"]),
        (FROM_1, ["00001_jpg.rf.aa.jpg", "00001_jpg.rf.bb.jpg"], ["rf.aa.jpg and 00001_jpg.rf.bb.jpg are two"]),
        (FROM_1, ["a/00001.jpg", "b/00001.jpg"], ["a/00001.jpg and b/00001.jpg are two pictures"]),
        (FROM_1, ["a/00001.jpg", "b/00002.jpg"], ["a/00001.jpg and b/00002.jpg lie in two folders"]),
    ],
)
def test_nothing_and_two_things_are_refused_with_both_names(names, mentioned, says):
    line = refuses(names, *mentioned)
    assert all(part in line for part in says), line


def test_numbers_count_where_both_readings_lead_to_one_picture_or_one_leads_nowhere():
    from_0 = [f"img{i}.jpg" for i in range(6)]
    assert find(from_0, "frame_000004.png", "frame_000001.png") == [4, 1]
    assert find(["a.jpg", "b.jpg", "c.jpg"], "frame_000002.png") == [2], "the pictures have no numbers"
    assert find(IN_FIVES, "x5.png", "x25.png") == [1, 5], "there is no 26th picture"
    whole = [f"frame_{i:06d}.PNG" for i in range(6)]
    assert find(FROM_1, whole[2], unwanted=whole) == [2], "each of the six is counted from 0: no other way to read them"
    assert "000002.PNG" in refuses(FROM_1, whole[2])


def test_the_folder_that_agrees_tells_two_videos_apart(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    both = ["set/a/00001.jpg", "set/b/00001.jpg", "set/a/00005.jpg", "set/B/00006.jpg"]
    assert find(FROM_1, *both, where=tmp_path / "b") == [None, 0, None, 5]
    assert find(FROM_1, *both, where=tmp_path / "link") == [None, 0, None, 5]
    assert "two pictures" in refuses(FROM_1, *both, where=tmp_path / "c")
    assert "set/a/00001.jpg is of another folder than" in refuses(
        FROM_1, both[0], unwanted=both[1:2], where=tmp_path / "b"
    )
    assert "two pictures" in refuses(FROM_1, both[0], unwanted=both[1:2]), "whose frames are these?"
    assert FrameFinder(9, None, tmp_path / "b.mp4").find([Mention(m) for m in both]) == [None, 1, None, 6]


def test_a_video_has_numbers_alone():
    video = FrameFinder(9, None, "clip.mp4")
    names = ["frame_000001.PNG", "x/00004.png", "7_mask.png", "3_jpg.rf.0a1b.jpg"]
    assert video.find([Mention(n) for n in names[:1]]) == [1]
    assert [video.find([Mention(n)]) for n in names] == [[1], [4], [7], [3]]
    assert video.find([Mention("cover.jpg", number=2)]) == [2]
    for mention, says in (
        (Mention("cover.png"), "cover.png: the name must end in its frame number"),
        (Mention("00009.png"), "00009.png is for frame 9, but clip.mp4 has the frames 0..8"),
        (Mention("img3.jpg", number=2), "img3.jpg may be frame 3 (by its name) or frame 2 (by its id)"),
    ):
        with pytest.raises(InputError, match="^" + says.replace("(", r"\(").replace(")", r"\)")):
            video.find([mention])


def test_what_perclip_noted_counts_before_all_numbers():
    results = [Mention(f"masks/{i:06d}.png", match=FROM_1[i], place=i) for i in (0, 1, 5)]
    assert find(FROM_1, *results) == [0, 1, 5]
    assert find(FROM_1[1:], *results[1:]) == [0, 4], "its picture moved up since"
    assert "masks/000000.png" in refuses(FROM_1[1:], *results)
    assert find(FROM_1, Mention("masks/000001.png", place=1)) == [1]
    assert FrameFinder(6).find(results) == [0, 1, 5]
    assert "masks/000007.png" in refuses(FROM_1, Mention("masks/000007.png", place=7))


def test_the_digits_of_a_hash_or_date_are_no_frame_number():
    with pytest.raises(InputError, match="must end in its frame number"):
        FrameFinder(900, None, "clip.mp4").find([Mention("frame_3_9f86d081.png")])
    assert FrameFinder(900, None).find([Mention("face0003.png"), Mention("take3b-0004.png")]) == [3, 4]
    with pytest.raises(InputError, match=r"20240101-3\.png may be"):
        find([f"20240102-{number}.jpg" for number in range(1, 9)], "20240101-3.png")


def test_a_number_behind_the_whole_name_of_a_picture_may_be_an_object():
    with pytest.raises(InputError, match=r"f1_2\.png may be f1\.jpg .* or f2\.jpg"):
        find(["f1.jpg", "f2.jpg"], "f1_2.png")


def test_frame_numbers_of_a_task():
    steps = range(10, 40, 5)  # six frames
    assert FrameFinder(0, FROM_1).find_in_task([10, 20], steps, True) == {10: 0, 20: 2}
    assert FrameFinder(0, FROM_1).find_in_task([0, 2], range(6), True) == {0: 0, 2: 2}
    assert FrameFinder(99).find_in_task([10, 20], steps, True) == {10: 10, 20: 20}
    assert FrameFinder(0, IN_FIVES).find_in_task([20, 25], None, True) == {20: 4, 25: 5}
    assert FrameFinder(0, FROM_1).find_in_task([1], None, True) == {1: 1}, "CVAT counts from 0, whatever the names do"
    assert FrameFinder(0, FROM_1).find_in_task([3], range(2, 5), True) == {3: 3}, "a job of the task"
    for names, numbers, task, says in (
        (IN_FIVES, [5], None, r"frame 5 may be 00005\.jpg .* or 00025\.jpg"),
        (FROM_1, [1], range(100), r"frame 1 may be 00001\.jpg .* or 00002\.jpg"),
        (FROM_1, [99], None, "frame 99 matches no picture"),
    ):
        with pytest.raises(InputError, match=says):
            FrameFinder(0, names).find_in_task(numbers, task, True)
    with pytest.raises(InputError, match=r"frame 9 is for frame 9, but clip\.mp4 has the frames 0\.\.8"):
        FrameFinder(9, None, "clip.mp4").find_in_task([9], None, True)
    pictures = FrameFinder(0, LEXICOGRAPHIC)
    assert pictures.find_in_task([0], range(12), False) == {0: 0}, "in both orders the first"
    with pytest.raises(InputError, match=r"img2\.jpg \(as CVAT sorts names\) or img5\.jpg"):
        pictures.find_in_task([4], range(12), False)
    assert pictures.find_in_task([4], range(12), True) == {4: 4}, "a video is in order"


@given(
    st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True).map(sorted),
    st.sampled_from(["{}.jpg", "{:05d}.png", "img{}.jpg", "Kamera-{:03d}.JPG", "é{:04d}.tif"]),
    st.sampled_from(["{}.png", "a/b/{}.jpg", "x\\{}.bmp", "{}_jpg.rf.0123abcd.jpg", "{}_mask.png"]),
    st.data(),
)
def test_every_picture_finds_itself_however_it_is_spelled(numbers, name, spelling, data):
    names = [name.format(number) for number in numbers]
    place = data.draw(st.integers(0, len(names) - 1))
    stem = names[place].rpartition(".")[0]
    form = data.draw(st.sampled_from(["NFC", "NFD"]))
    mentioned = spelling.format(unicodedata.normalize(form, data.draw(st.sampled_from([stem, stem.upper()]))))
    assert find(names, mentioned) == [place]
