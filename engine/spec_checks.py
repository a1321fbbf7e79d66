"""Checks of the fields of a spec: each names the field and shows a value of any size in one short line.

And the smallest spec, which a ModelSpec may hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from reprlib import repr as shortened
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from .errors import SpecError

_EVIDENCE = 1e6
_DISTANCES = 1_001
_NAME_LENGTH = 200  # of a label or a backbone, which are columns and file names
# Controls, ends of lines and lone surrogates: no word has them, and tables and terminals break on them.
_NO_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def require(condition: bool, message: str) -> None:
    if not condition:
        raise SpecError(message)


def require_between(spec: Any, name: str, least: float, most: float) -> None:
    value = getattr(spec, name)
    require(
        least <= value <= most,  # False for NaN
        f"{type(spec).__name__}.{name} must be from {least:g} to {most:g}, not {shortened(value)}",
    )


def require_name(name: str, what: str) -> None:
    require(bool(name.strip()), f"{what} is empty")
    require(len(name) <= _NAME_LENGTH, f"{what} is longer than {_NAME_LENGTH} characters")
    require(not _NO_NAME.search(name), f"{what} has control characters or surrogates: {shortened(name)}")


_KINDS: Mapping[Any, tuple[type, ...]] = {
    int: (int,),
    float: (int, float),
    str: (str,),
    float | None: (int, float, type(None)),
}


def check_types(spec: Any) -> None:
    """Checks types against the annotations.

    Lists become tuples and whole numbers floats where the field says so: a spec that was read from JSON
    equals the one that was written.
    """
    for name, hint in get_type_hints(type(spec)).items():
        value = getattr(spec, name)
        if hint in (tuple[float, ...], tuple[str, ...]):
            element = get_args(hint)[0]
            require(
                isinstance(value, list | tuple)
                and all(isinstance(v, _KINDS[element]) and not isinstance(v, bool) for v in value),
                f"{type(spec).__name__}.{name} must be a list of {element.__name__}",
            )
            object.__setattr__(spec, name, tuple(map(_float if element is float else str, value)))
        elif get_origin(hint) is Literal:
            choices = get_args(hint)
            require(
                value in choices,
                f"{type(spec).__name__}.{name} must be one of {', '.join(choices)}, not {shortened(value)}",
            )
        elif hint in _KINDS:
            kind = hint.__name__ if isinstance(hint, type) else hint
            require(
                isinstance(value, _KINDS[hint]) and not isinstance(value, bool),
                f"{type(spec).__name__}.{name} must be {kind}, not {shortened(value)}",
            )
            if float in _KINDS[hint] and value is not None:
                object.__setattr__(spec, name, _float(value))
        else:
            # A union of classes is taken as it is; of others, as Mapping[str, Any], what they are made of.
            expected = hint if isinstance(hint, UnionType) else get_origin(hint) or hint
            kind = getattr(expected, "__name__", expected)
            require(isinstance(value, expected), f"{type(spec).__name__}.{name} must be {kind}")


def _float(number: float) -> float:
    try:
        return float(number)
    except OverflowError:  # a whole number of more than 308 digits, which no range of ours holds
        return math.inf


@dataclass(frozen=True)
class EvidenceSpec:
    """What a network's second output ``evidence`` ``[batch, 2]`` means; a song's is its windows' mean.

    The columns are the log odds that it is music, and how far it is from the training music. Below ``music``
    a song is none. Beyond ``far``, or with a label less probable than ``confidence``, it is unsure.
    ``distances`` are those of training clips at evenly spaced ranks: a song's rank among them, 0 to 1, is its
    novelty.

    Raises:
        SpecError: a number is out of range, or the distances are less than two or do not ascend.
    """

    music: float
    distances: tuple[float, ...]
    far: float
    confidence: float

    def __post_init__(self) -> None:
        check_types(self)
        require_between(self, "confidence", 0.0, 1.0)
        values = (self.music, self.far, *self.distances)
        require(all(abs(value) <= _EVIDENCE for value in values), "EvidenceSpec has numbers out of range")
        require(
            2 <= len(self.distances) <= _DISTANCES and list(self.distances) == sorted(self.distances),
            f"EvidenceSpec.distances must hold 2 to {_DISTANCES} ascending numbers",
        )
