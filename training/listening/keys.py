"""The labels that are to choose from, each by a key."""

from __future__ import annotations

from unicodedata import normalize

from ...engine.data.cleaning import labels_from_list
from ...engine.errors import UsageError
from ...engine.text.escape import for_csv, for_terminal

KEYS = "1234567890qwertyiopdfghjklzxcvbnm"
"""In the order of the labels; u and s are taken, a is near s."""


def labels_from_text(text: str) -> tuple[str, ...]:
    """The labels of an option ``A,B,...``, in order.

    Raises:
        UsageError: no such list, fewer than two, one twice, or one that a file of labels cannot hold.
    """
    labels = tuple(" ".join(normalize("NFC", label).split()) for label in labels_from_list(text))
    if len(labels) < 2 or not all(labels):
        raise UsageError(f"{text!r} names no two labels: write them with a comma between, as in calm,tense")
    if len(labels) > len(KEYS):
        raise UsageError(f"{len(labels)} labels are more than there are keys ({len(KEYS)})")
    if len({label.casefold() for label in labels}) < len(labels):
        raise UsageError(f"{text!r} names a label twice")
    for label in labels:
        if for_csv(label) != label or for_terminal(label) != label:
            raise UsageError(f"the label {label!r} begins like a formula or holds what cannot be shown")
    return labels
