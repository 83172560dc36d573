"""Which frames of an object are remembered."""

from model.tracking.remembered_frames import MOST_REMEMBERED, RememberedFrame, remember, without_most_crowded


def frame(number):
    return RememberedFrame(number, b"image", b"mask", b"")


def numbers_after(seen):
    """The numbers remembered after each seen frame."""
    kept, story = (), []
    for number in seen:
        kept = remember(kept, frame(number))
        story.append([f.number for f in kept])
    return story


def test_the_drawn_and_the_last_seen_frame_are_always_remembered_and_never_many():
    for last, numbers in enumerate(numbers_after(range(100))):
        assert numbers[0] == 0 and numbers[-1] == last and len(numbers) <= MOST_REMEMBERED
        assert numbers == sorted(set(numbers))


def test_between_them_every_fifth_stays_spread_over_the_past():
    story = numbers_after(range(100))
    assert story[1:7] == [[0, 1], [0, 2], [0, 3], [0, 4], [0, 5], [0, 5, 6]]
    assert story[17] == [0, 5, 10, 15, 17]
    assert all(number % 5 == 0 for numbers in story for number in numbers[:-1])
    gaps = [b - a for a, b in zip(story[99], story[99][1:])]
    assert max(gaps) <= 50


def test_frames_in_which_the_object_was_not_seen_leave_gaps_and_nothing_else():
    assert numbers_after([0, 1, 2, 30, 31])[-1] == [0, 30, 31]


def test_the_most_crowded_frame_is_forgotten_first():
    kept = without_most_crowded([frame(n) for n in (0, 10, 12, 15, 40)])
    assert [f.number for f in kept] == [0, 10, 15, 40]
    assert [f.number for f in without_most_crowded([frame(n) for n in (0, 1, 2)])] == [0, 2]
