"""Which label counts as which, and what is refused."""

from __future__ import annotations

import pytest
from merkit.benchmarks.evaluation.common_labels import LabelsDifferError, common_labels, pairs_from_texts
from merkit.engine.errors import MerError, UsageError

QUADRANTS = {"net": ("happy", "tense", "sad", "calm")}


def test_labels_that_are_the_same_to_a_reader_are_one() -> None:
    common = common_labels({"net": ("Happy", "sad")}, {"happy": 3, "SAD ": 2}, {})
    assert common.names == ("Happy", "sad")
    assert [common.of_data("happy"), common.of_data("SAD "), common.of_model("Happy")] == [0, 1, 0]


def test_a_map_is_of_both_sides_and_applied_once() -> None:
    words = {"net": ("romantic", "calm", "happy", "sad")}
    common = common_labels(
        words, {"romantic": 1, "happy": 1, "calm": 1}, {"romantic": "calm", "happy": "joy"}
    )
    assert common.names == ("calm", "joy", "sad")
    assert [common.of_model(label) for label in words["net"]] == [0, 0, 1, 2]
    assert [common.of_data(label) for label in ("romantic", "happy", "calm")] == [0, 1, 0]
    swapped = common_labels(words, {"happy": 1, "sad": 1}, {"happy": "sad", "sad": "happy"})
    assert [swapped.names[swapped.of_model(label)] for label in ("happy", "sad")] == ["sad", "happy"]


def test_what_becomes_nothing_is_left_out_of_the_data_only() -> None:
    common = common_labels(
        QUADRANTS, {"happy": 1, "devotional": 2, "tense": 1}, {"devotional": "", "Tense": ""}
    )
    assert [common.of_data(label) for label in ("happy", "devotional", "tense")] == [0, None, None]
    assert common.names[common.of_model("tense")] == "tense"


def test_several_models_share_the_names() -> None:
    models = {"a": ("sad", "happy"), "b": ("happy", "party")}
    common = common_labels(models, {"happy": 1}, {})
    assert common.names == ("sad", "happy", "party")


@pytest.mark.parametrize("order", [("five", "quadrants"), ("quadrants", "five")])
def test_a_label_that_one_of_the_models_cannot_say_is_no_quiet_zero(order: tuple[str, str]) -> None:
    said = {"five": ("happy", "sad", "devotional"), "quadrants": QUADRANTS["net"]}
    models, data = {name: said[name] for name in order}, {"happy": 6, "sad": 6, "devotional": 6}
    with pytest.raises(LabelsDifferError, match=r"quadrants does not say: devotional \(6 clips\); it"):
        common_labels(models, data, {})
    assert common_labels(models, data, {"devotional": ""}).of_data("devotional") is None
    assert common_labels(models, data, {"devotional": "calm"}).of_data("devotional") is not None


@pytest.mark.parametrize(
    ("data", "renamed", "error", "text"),
    [
        ({"happy": 2, "party": 3, "bhakti": 4}, {}, LabelsDifferError,
         r"net does not say: party \(3 clips\), bhakti \(4 clips\); it says happy, tense, sad, calm"),
        ({"C1": 2, "C2": 3}, {}, LabelsDifferError, "net says happy, tense, sad, calm; the data's"),
        ({"happy": 2, "sad": 3}, {"party": "happy"}, UsageError, "no label is party: .* happy, sad, tense"),
        ({"happy": 2}, {"happy": ""}, MerError, "every label of the data is left out"),
        ({"happy": 2, "sad": 2}, {"sad": "blue", "calm": "blue", "happy": "glad"}, None, ""),
        ({"happy": 2, "party": 2}, {"party": "gay"}, LabelsDifferError, r"net does not say: party \(2 c"),
    ],
)  # fmt: skip
def test_what_cannot_be_compared(
    data: dict[str, int], renamed: dict[str, str], error: type[Exception] | None, text: str
) -> None:
    if error is None:
        assert common_labels(QUADRANTS, data, renamed).names == ("glad", "tense", "blue")
        return
    with pytest.raises(error, match=text) as raised:
        common_labels(QUADRANTS, data, renamed)
    assert "--" not in str(raised.value)


def test_a_label_may_hold_the_sign_itself() -> None:
    known = ("=SUM(A1)", "a=b", "a", "c")
    texts = ["=SUM(A1)=happy", "a=b=c=d", "c = x=y"]
    assert pairs_from_texts(texts, ("=SUM(A1)", "A=B", "c")) == {
        "=SUM(A1)": "happy",
        "a=b": "c=d",
        "c": "x=y",
    }
    assert pairs_from_texts(["a=b=c"], known) == {"a": "b=c"}  # the first that is one
    assert pairs_from_texts(["n=b=c"], known) == {"n": "b=c"}
    with pytest.raises(UsageError, match="is no LABEL"):
        pairs_from_texts(["=SUM(A1)"], known)


def test_maps_are_read() -> None:
    assert pairs_from_texts(["a = b", "नाच=party", "c=", "a=b"]) == {"a": "b", "नाच": "party", "c": ""}
    assert pairs_from_texts(["Happy=calm", "happy=Calm"]) == {"Happy": "calm"}
    for wrong, text in (
        (["a"], "'a' is no LABEL=OTHER"),
        (["=a"], "is no LABEL"),
        (["a=b", "a="], "cannot be b"),
        (["Happy=calm", "happy =sad"], "happy cannot be calm and sad"),
    ):
        with pytest.raises(UsageError, match=text):
            pairs_from_texts(wrong)
