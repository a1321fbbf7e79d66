"""The labels of data and of models under one set of names."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...engine.data.cleaning import cleaned, comparison_key, quoted_label
from ...engine.errors import MerError, UsageError


class LabelsDifferError(MerError):
    """A label of the data that one of the models cannot say: renames are missing."""


@dataclass(frozen=True)
class CommonLabels:
    """``names``: what models and data can say, the first model's labels first.

    Labels that a reader takes for the same (case, blanks, Unicode form) are one.
    """

    names: tuple[str, ...]
    _renamed: Mapping[str, str]  # by comparison key
    _places: Mapping[str, int]

    def of_data(self, label: str) -> int | None:
        """The position of a label of the data; None where its clips are left out."""
        return self._places.get(comparison_key(self._renamed.get(comparison_key(label), label)))

    def of_model(self, label: str) -> int:
        """The position of a label of a model."""
        return self._places[comparison_key(_of_model(label, self._renamed))]


def pairs_from_texts(texts: Iterable[str], known: Iterable[str] = ()) -> dict[str, str]:
    """``LABEL=OTHER`` to a mapping; OTHER may be empty.

    Args:
        known: the labels that there are: one of them may hold ``=`` itself.

    Raises:
        UsageError: no ``=``, no label before it, or one label that becomes two.
    """
    keys = {comparison_key(label) for label in known}
    pairs: dict[str, tuple[str, str]] = {}  # by comparison key
    for text in texts:
        label, other = _pair(text, keys)
        _, before = pairs.setdefault(comparison_key(label), (label, other))
        if comparison_key(before) != comparison_key(other):
            raise UsageError(f"{label} cannot be {before or 'left out'} and {other or 'left out'}")
    return dict(pairs.values())


def _pair(text: str, known: Collection[str]) -> tuple[str, str]:
    """A text at the first ``=`` behind one of the labels that are known, else at the first one behind any."""
    signs = (place for place, character in enumerate(text) if character == "=")
    pairs = [(label, cleaned(text[place + 1 :])) for place in signs if (label := cleaned(text[:place]))]
    if not pairs:
        raise UsageError(f"{text!r} is no LABEL=OTHER")
    return next((pair for pair in pairs if comparison_key(pair[0]) in known), pairs[0])


def common_labels(
    models: Mapping[str, Sequence[str]], data: Mapping[str, int], renamed: Mapping[str, str]
) -> CommonLabels:
    """Finds the common names.

    Args:
        models: the labels of each model, by its name.
        data: how many clips each label of the data has.
        renamed: what a label of the data or of a model counts as, once; "" leaves the data's clips out.

    Raises:
        UsageError: ``renamed`` names a label that neither has.
        LabelsDifferError: a label of the data that one of the models cannot say.
        MerError: no label of the data is kept.
    """
    by_key = {comparison_key(label): other for label, other in renamed.items()}
    all_of_models = list(dict.fromkeys(label for labels in models.values() for label in labels))
    known = {comparison_key(label) for label in (*all_of_models, *data)}
    if unknown := [label for label in renamed if comparison_key(label) not in known]:
        has = _listed(dict.fromkeys((*data, *all_of_models)))
        raise UsageError(f"no label is {unknown[0]}: the data and the models have {has}")
    names: dict[str, str] = {}  # by comparison key
    for label in all_of_models:
        name = _of_model(label, by_key)
        names.setdefault(comparison_key(name), name)
    common = CommonLabels(tuple(names.values()), by_key, {key: place for place, key in enumerate(names)})
    kept = {label: by_key.get(comparison_key(label), label) for label in data}
    kept = {label: name for label, name in kept.items() if name}
    if not kept:
        raise MerError("every label of the data is left out: nothing is left to score")
    for model, labels in models.items():
        said = {comparison_key(_of_model(label, by_key)) for label in labels}
        strange = [label for label, name in kept.items() if comparison_key(name) not in said]
        if len(strange) == len(kept):
            raise LabelsDifferError(
                f"{model} says {_listed(labels)}; the data's labels are others: {_listed(data)}"
            )
        if strange:
            named = ", ".join(f"{quoted_label(label)} ({data[label]} clips)" for label in strange)
            raise LabelsDifferError(
                f"the data has labels that {model} does not say: {named}; it says {_listed(labels)}"
            )
    return common


def _listed(labels: Iterable[str]) -> str:
    return ", ".join(map(quoted_label, labels))


def _of_model(label: str, renamed: Mapping[str, str]) -> str:
    return renamed.get(comparison_key(label)) or label
