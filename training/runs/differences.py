"""How two trainings differ, in the names that the options and the recipe's fields have."""

from __future__ import annotations

import dataclasses
from reprlib import repr as shortened
from typing import Any

from ...engine.spec import ModelSpec

_MOST = 3  # named in a line
_OF_THE_CLIPS = ("mean", "std")  # fields of the AudioSpec that the training part gives


def differences(there: ModelSpec, here: ModelSpec) -> str:
    """What is not the same of two networks' trainings, the first of it; "" where they do not say."""
    try:
        before, now = _facts(there), _facts(ModelSpec.from_json(here.to_json()))
    except (AttributeError, KeyError, TypeError, ValueError):  # a file's provenance may be anything
        return ""
    names = [name for name in now if before.get(name) not in (None, now[name])]
    texts = [
        f"{name}: {shortened(before[name])} there, {shortened(now[name])} here" for name in names[:_MOST]
    ]
    return "; ".join([*texts, *([f"{len(names) - _MOST} more"] if len(names) > _MOST else [])])


def _facts(spec: ModelSpec) -> dict[str, Any]:
    facts, audio = spec.provenance, dataclasses.asdict(spec.audio)
    data, split, recipe = (facts.get(name, {}) for name in ("data", "split", "recipe"))
    return {
        "model": spec.backbone,
        "protocol": facts.get("protocol"),
        "weights": facts.get("weights"),
        "plan": facts.get("plan"),
        "teachers": [teacher["name"] for teacher in facts.get("teachers", [])],
        **recipe,
        "labels": list(spec.labels),
        "data": data.get("name"),
        "clips": data.get("clips"),
        "grouped by": data.get("grouped_by"),
        "tags": data.get("tags"),
        **{f"audio.{name}": value for name, value in audio.items() if name not in _OF_THE_CLIPS},
        "split": split.get("kind"),
        "split_seed": split.get("seed"),
        **{f"{name} part": split.get(name) for name in ("training", "validation", "test")},
        "test part's hash": str(split.get("hash"))[:12],
    }
