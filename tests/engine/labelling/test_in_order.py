"""Labels in the order of their files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from merkit.engine.labelling.in_order import LabelsInOrder
from merkit.engine.labelling.song_label import SongLabel


@given(st.permutations(range(5, 12)), st.integers(0, 7))
def test_labels_come_out_in_order_and_those_behind_a_gap_at_the_end(order: list[int], count: int) -> None:
    labels, taken = LabelsInOrder(5), []
    for position in order[:count]:
        labels[position] = SongLabel(f"{position}.mp3")
        taken += [label.path for label in labels.ready()]
        assert labels.next == 5 + len(taken)
    taken += [label.path for label in labels.rest()]
    assert taken == [f"{position}.mp3" for position in sorted(order[:count])]
    assert not labels
