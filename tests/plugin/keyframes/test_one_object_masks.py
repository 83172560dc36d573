"""Several masks for one frame, one object each: which of them are one object, and what it is called."""

import numpy as np
import pytest

from plugin.keyframes import read_keyframes
from tests.plugin.keyframe_files import BY_NUMBER, SIZE, fails, label_map, save, square

PERSON, HELMET, VEST = square(0, 0, 16), square(2, 2, 8), square(6, 4, 9)
PLAIN, FOUR = 255, 4


def written(tmp_path, value, mask, number=PLAIN):
    """`INDEX=path` or a folder, with a mask there."""
    path = tmp_path / value.split("=")[-1]
    file = path if path.suffix else path / "00000.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    save(file, (mask * number).astype(np.uint8))
    return f"{value.split('=')[0]}={path}" if "=" in value else str(path)


NAMES = {
    "by their files": (["0=person.png", "0=helmet.png"], ["person", "helmet"]),
    "a third one later": (["0=person.png", "0=helmet.png", "7=car.png"], ["person", "helmet", "car"]),
    "one name is one object": (
        ["0=a/person.png", "0=a/helmet.png", "9=b/helmet.png", "9=b/person.png"],
        ["person", "helmet", "helmet", "person"],
    ),
    "less the frame's number": (
        ["0=person_0.png", "0=helmet_0.png", "40=person_40.png", "40=0040-helmet.png"],
        ["person", "helmet", "person", "helmet"],
    ),
    "a picture's number": (["0=person_00012.png", "0=helmet_00012.png"], ["person", "helmet"]),
    "numbers of objects": (
        ["1=car_1.png", "1=car_2.png", "2=car_1.png", "2=car_2.png"],
        ["car_1", "car_2", "car_1", "car_2"],
    ),
    "by their folders": (
        ["0=person/0000.png", "0=helmet/0000.png", "5=person/0005.png"],
        ["person", "helmet", "person"],
    ),
    "numbered folders": (["0=1/0000.png", "0=2/0000.png"], ["1", "2"]),
    "whole folders": (["person", "helmet"], ["person", "helmet"]),
    "a folder and a file": (["person", "0=helmet.png"], ["person", "helmet"]),
}


@pytest.mark.parametrize("number", [PLAIN, FOUR])
@pytest.mark.parametrize(("values", "names"), NAMES.values(), ids=NAMES)
def test_each_is_an_object_called_after_its_file_or_folder(tmp_path, values, names, number):
    masks = [PERSON if name in ("person", "1", "car_1") else HELMET for name in names]
    paths = [written(tmp_path, value, mask, number) for value, mask in zip(values, masks)]
    found = read_keyframes(paths, BY_NUMBER, SIZE)
    assert sorted(found.object_names.values()) == sorted(set(names))
    ids = {name: i for i, name in found.object_names.items()}
    assert ids[names[0]] == (1 if number == PLAIN else 4), "the first keeps its id"
    for value, name, mask in zip(values, names, masks):
        index = int(value.split("=")[0]) if "=" in value else 0
        (keyframe,) = (k for k in found.keyframes if k.index == index)
        np.testing.assert_array_equal(keyframe.mask(ids[name]), mask)


@pytest.mark.parametrize("values", NAMES)
def test_a_word_is_said_of_what_may_be_meant_as_a_correction(tmp_path, values):
    """That is, of a name that is new on a later frame; nothing is said of the other rows of `NAMES`."""
    paths = [written(tmp_path, value, PERSON) for value in NAMES[values][0]]
    warnings = [w for w in read_keyframes(paths, BY_NUMBER, SIZE).warnings if "one more object" in w]
    assert len(warnings) == (values == "a third one later")
    if warnings:
        assert "7=" in warnings[0] and "car.png is taken for one more object, car" in warnings[0]
        assert "(helmet, person)" in warnings[0]


def test_the_later_of_them_lies_on_top_and_each_stays_whole(tmp_path):
    values = [written(tmp_path, f"3={n}.png", m) for n, m in {"p": PERSON, "v": VEST, "h": HELMET}.items()]
    (keyframe,) = read_keyframes(values, BY_NUMBER, SIZE).keyframes
    assert keyframe.masks.order == (1, 2, 3)
    np.testing.assert_array_equal(keyframe.label_map, label_map(o1=PERSON, o2=VEST, o3=HELMET))
    for object_id, mask in {1: PERSON, 2: VEST, 3: HELMET}.items():
        np.testing.assert_array_equal(keyframe.mask(object_id), mask)


def test_masks_that_do_not_clash_are_numbered_as_they_say(tmp_path):
    apart = [written(tmp_path, "0=person.png", PERSON), written(tmp_path, "8=fix.png", VEST)]
    assert read_keyframes(apart, BY_NUMBER, SIZE).object_names == {1: "object 1"}
    own = [written(tmp_path, "0=person.png", PERSON, 3), written(tmp_path, "0=helmet.png", HELMET, 1)]
    found = read_keyframes(own, BY_NUMBER, SIZE)
    assert found.object_names == {1: "object 1", 3: "object 3"}
    np.testing.assert_array_equal(found.keyframes[0].mask(3), PERSON)


def test_new_ids_are_those_that_nobody_else_has(tmp_path):
    values = [written(tmp_path, f"0={n}.png", m) for n, m in {"person": PERSON, "helmet": HELMET}.items()]
    crowd = save(tmp_path / "crowd.png", label_map(o2=square(0, 0), o3=square(9, 9)))
    assert read_keyframes([*values, f"5={crowd}"], BY_NUMBER, SIZE).object_names == {
        1: "person",
        2: "object 2",
        3: "object 3",
        4: "helmet",
    }


def test_what_cannot_be_told_apart_is_refused(tmp_path):
    person = written(tmp_path, "0=person.png", PERSON)
    fails(read_keyframes, [person, person], BY_NUMBER, SIZE, match=r"object 1 is given twice on frame 0.*another id")
    two = save(tmp_path / "two.png", label_map(o1=PERSON, o2=HELMET))
    fails(read_keyframes, [person, f"0={two}"], BY_NUMBER, SIZE, match="object 1 is given twice on frame 0")
    written(tmp_path, "all/vest", VEST)
    fails(read_keyframes, [str(tmp_path / "all")], BY_NUMBER, SIZE, match=r"all has folders.*as .*all/vest;")
    many = [written(tmp_path, f"0=m/x{i}y.png", square(0, 0)) for i in range(255)]
    fails(read_keyframes, many, BY_NUMBER, SIZE, match="255 objects are too many")
