"""Links of two keyframes: an object is one mask per frame, and of a detector's proposals for it the best one stays."""

from collections import Counter

import hypothesis.strategies as st
from hypothesis import given, settings

from model.propose_reduce.links import link

A, B, C = (0, 1), (0, 2), (0, 3)
X, Y, Z = (9, 1), (9, 2), (9, 3)


def pairs(links):
    return [(x.before, x.behind) for x in links]


def test_of_two_proposals_for_one_object_that_of_the_higher_score_stays_whatever_overlaps_more():
    links, repeats = link({(A, X): 0.8, (A, Y): 0.6}, {X: 0.3, Y: 0.5})
    assert pairs(links) == [(A, Y)] and links[0].iou == 0.6
    assert [(r.mask, r.instead, r.score) for r in repeats] == [(X, Y, 0.3)]
    links, repeats = link({(A, X): 0.8, (A, Y): 0.6}, {X: 0.5, Y: 0.5})  # of equal ones the one that overlaps more
    assert pairs(links) == [(A, X)] and repeats[0].mask == Y


def test_so_it_is_in_the_other_direction():
    links, repeats = link({(A, X): 0.8, (B, X): 0.6}, {A: 0.3, B: 0.5})
    assert pairs(links) == [(B, X)]
    assert [(r.mask, r.instead, r.score) for r in repeats] == [(A, B, 0.3)]


def test_what_is_sure_is_never_left_out():
    """A person's mask, or a proposal that is part of an object already."""
    links, repeats = link({(A, X): 0.6, (A, Y): 0.8}, {Y: 1.0})  # nor loses its object to a detector's shape
    assert pairs(links) == [(A, X)] and [(r.mask, r.instead) for r in repeats] == [(Y, X)]
    links, repeats = link({(A, X): 0.8, (A, Y): 0.6}, {Y: 1.0})
    assert pairs(links) == [(A, X)] and [r.mask for r in repeats] == [Y]


def test_two_alike_that_overlap_each_other_s_sequences_are_two_objects():
    links, repeats = link({(A, X): 0.8, (A, Y): 0.6, (B, X): 0.55, (B, Y): 0.7}, {A: 0.9, B: 0.2, X: 0.9, Y: 0.1})
    assert pairs(links) == [(A, X), (B, Y)] and repeats == []


def test_what_overlaps_too_little_or_only_a_mask_that_matches_nothing_stays_apart():
    links, repeats = link({(A, X): 0.8, (A, Y): 0.49, (B, Y): 0.1}, {X: 0.1, Y: 0.9, B: 0.1})
    assert pairs(links) == [(A, X)] and repeats == []


def test_only_proposals_of_one_frame_compete():
    """An object that is carried on from an earlier frame takes nothing from what is drawn on this one."""
    earlier = (-9, 1)
    links, repeats = link({(earlier, X): 0.9, (A, X): 0.6}, {A: 0.1})
    assert pairs(links) == [(earlier, X)] and repeats == []


@given(st.dictionaries(st.tuples(st.sampled_from([A, B, C]), st.sampled_from([X, Y, Z])), st.floats(0, 1)), st.data())
@settings(max_examples=25, deadline=None)
def test_whatever_overlaps(ious, data):
    scores = data.draw(st.dictionaries(st.sampled_from([A, B, C, X, Y, Z]), st.floats(0, 1)))
    links, repeats = link(ious, scores)
    linked = Counter(mask for x in links for mask in x[:2])
    assert all(count == 1 for count in linked.values())
    assert all(x.iou == ious[x.before, x.behind] >= 0.5 for x in links)
    for r in repeats:
        assert r.mask not in linked and r.instead in linked and r.mask[0] == r.instead[0]
        assert r.score == scores[r.mask] <= scores.get(r.instead, 1.0)
    left = {r.mask for r in repeats}
    for (before, behind), iou in ious.items():
        if iou >= 0.5 and not left & {before, behind}:
            assert {before, behind} & set(linked)  # what may be linked is, or its object has another mask
