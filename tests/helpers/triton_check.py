"""Whether Triton can load a model repository: its configurations, and the files that they name.

NVIDIA's schema reads each configuration by itself; this compares them with each other and with the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from merkit.engine.errors import MerError

Message = dict[str, list[Any]]
"""A message of protobuf: every field with all of its values."""

_TOKENS = re.compile(r'\s*(?:#[^\n]*|("(?:[^"\\\n]|\\.)*")|([{}\[\]:,])|([\w.+-]+))')
# The part of ModelConfig (model_config.proto) that mer-export writes: field to its type, or its message.
_TENSOR = {"name": str, "data_type": "TYPE_", "dims": int}
_PAIR = {"key": str, "value": str}
_STEP = {"model_name": str, "model_version": int, "input_map": _PAIR, "output_map": _PAIR}
_CONFIG: Mapping[str, Any] = {
    "name": str,
    "platform": str,
    "backend": str,
    "max_batch_size": int,
    "input": _TENSOR,
    "output": {**_TENSOR, "label_filename": str},
    "instance_group": {"count": int, "kind": "KIND_"},
    "dynamic_batching": {"preferred_batch_size": int, "max_queue_delay_microseconds": int},
    "optimization": {"graph": {"level": int}},
    "parameters": {"key": str, "value": {"string_value": str}},
    "ensemble_scheduling": {"step": _STEP},
}
_REPEATED = {"input", "output", "dims", "instance_group", "preferred_batch_size", "parameters", "step"} | {
    "input_map",
    "output_map",
}
_FILES = {"tensorrt_plan": "model.plan", "onnxruntime_onnx": "model.onnx", "python": "model.py"}


def check_repository(folder: Path) -> list[str]:
    """Checks the models below a folder; returns their names.

    Raises:
        MerError: a configuration that is none, a file that is missing, or tensors that do not fit each other.
    """
    models = {path.parent.name: path for path in sorted(folder.glob("*/config.pbtxt"))}
    if not models:
        raise MerError(f"{folder} is no model repository: no folder in it has a config.pbtxt")
    configs: dict[str, Message] = {}
    for name, path in models.items():
        try:
            configs[name] = message_from_text(path.read_text(encoding="utf-8"))
            _check_fields(configs[name], _CONFIG, "")
            _check_model(configs[name], path.parent)
        except (OSError, ValueError) as error:
            raise MerError(f"{path}: {error}") from None
    for name, config in configs.items():
        try:
            for ensemble in config.get("ensemble_scheduling", []):
                _check_steps(config, ensemble["step"], configs)
        except (KeyError, ValueError) as error:
            raise MerError(f"{models[name]}: {error}") from None
    return list(configs)


def message_from_text(text: str) -> Message:
    """Reads protobuf's text format.

    Raises:
        ValueError: it is none.
    """
    return _message(_tokens(text), "")


def _tokens(text: str) -> Iterator[str]:
    at = 0
    while at < len(text.rstrip()):
        match = _TOKENS.match(text, at)
        if match is None:
            raise ValueError(f"not in protobuf's text format: {text[at : at + 20].strip()!r}")
        at = match.end()
        token = next((group for group in match.groups() if group), None)
        if token is not None:
            yield token
    yield ""


def _message(tokens: Iterator[str], end: str) -> Message:
    message: Message = {}
    for field in tokens:
        if field == end:
            return message
        if not re.fullmatch(r"[A-Za-z_]\w*", field):
            raise ValueError(f"a field's name is expected, not {field!r}")
        token = next(tokens)
        values = message.setdefault(field, [])
        if token == ":":
            token = next(tokens)
        elif token not in ("{", "["):
            raise ValueError(f"{field} has no value")
        values.extend(_values(tokens) if token == "[" else [_value(token, tokens)])
    raise ValueError("it ends within a message")


def _values(tokens: Iterator[str]) -> Iterator[Any]:
    for token in tokens:
        if token == "]":
            return
        if token != ",":
            yield _value(token, tokens)


def _value(token: str, tokens: Iterator[str]) -> Any:
    if token == "{":
        return _message(tokens, "}")
    if token.startswith('"'):
        return re.sub(r"\\(.)", lambda match: {"n": "\n", "t": "\t"}.get(match[1], match[1]), token[1:-1])
    if re.fullmatch(r"[+-]?\d+", token):
        return int(token)
    if re.fullmatch(r"[A-Z]\w*", token):
        return _Enum(token)
    raise ValueError(f"{token!r} is no value")


class _Enum(str):
    """A name without quotes."""


def _check_fields(message: Message, fields: Mapping[str, Any], where: str) -> None:
    for field, values in message.items():
        kind, place = fields.get(field), f"{where}{field}"
        if kind is None:
            raise ValueError(f"no field {place}")
        if len(values) > 1 and field not in _REPEATED:
            raise ValueError(f"{place} stands there twice")
        for value in values:
            if isinstance(kind, Mapping) and isinstance(value, dict):
                _check_fields(value, kind, f"{place}.")
            elif isinstance(kind, str):
                if not (isinstance(value, _Enum) and value.startswith(kind)):
                    raise ValueError(f"{place} must be a {kind}..., not {value!r}")
            elif isinstance(kind, Mapping) or type(value) is not kind:
                raise ValueError(f"{place} cannot be {value!r}")


def _check_model(config: Message, folder: Path) -> None:
    """One model's own values, and its files."""
    _need(config.get("name") == [folder.name], f"its name must be its folder's, {folder.name}")
    (most,) = config.get("max_batch_size", [0])
    _need(most >= 1, "max_batch_size must be 1 or more: the first axis is the batch's")
    for batching in config.get("dynamic_batching", []):
        sizes = batching.get("preferred_batch_size", [])
        _need(all(1 <= size <= most for size in sizes), f"preferred_batch_size {sizes} is not within {most}")
    for tensor in [*config.get("input", []), *config.get("output", [])]:
        dims = tensor.get("dims", [])
        _need(bool(dims) and all(size > 0 for size in dims), f"dims {dims} of {tensor.get('name')}")
        for name in tensor.get("label_filename", []):
            labels = (folder / name).read_text(encoding="utf-8").splitlines()
            _need(len(labels) == dims[0], f"{name} has {len(labels)} labels for {dims[0]} outputs")
    _need(bool(config.get("input")) and bool(config.get("output")), "it takes or gives nothing")
    runs = [*config.get("platform", []), *config.get("backend", [])]
    _need(len(runs) == 1, "it needs a platform or a backend")
    if runs == ["ensemble"]:
        _need("ensemble_scheduling" in config, "an ensemble needs ensemble_scheduling")
        _need((folder / "1").is_dir(), "it has no version: a folder 1")
        return
    file = _FILES.get(runs[0])
    _need(file is not None, f"{runs[0]} is no platform or backend of mer-export's")
    _need((folder / "1" / str(file)).is_file(), f"there is no 1/{file}")


def _check_steps(config: Message, steps: list[Message], configs: Mapping[str, Message]) -> None:
    """An ensemble: every tensor is made before it is taken, in the same shape, and its outputs are made."""
    known = _shapes(config, "input")
    for step in steps:
        (name,) = step["model_name"]
        _need(name in configs, f"there is no model {name}")
        model = configs[name]
        _need(config["max_batch_size"] <= model["max_batch_size"], f"{name} takes smaller batches")
        takes, gives = _shapes(model, "input"), _shapes(model, "output")
        taken = _mapped(step, "input_map")
        _need(set(taken) == set(takes), f"{name} takes {', '.join(takes)}, and is given {', '.join(taken)}")
        for inside, outside in taken.items():
            _need(outside in known, f"nothing before {name} gives {outside}")
            _need(known[outside] == takes[inside], f"{name} takes {takes[inside]}, not {known[outside]}")
        for inside, outside in _mapped(step, "output_map").items():
            _need(inside in gives, f"{name} gives no {inside}")
            known[outside] = gives[inside]
    for name, shape in _shapes(config, "output").items():
        _need(known.get(name) == shape, f"its output {name} is {shape}, and made as {known.get(name)}")


def _shapes(config: Message, side: str) -> dict[str, Any]:
    return {tensor["name"][0]: (*tensor["data_type"], *tensor["dims"]) for tensor in config[side]}


def _mapped(step: Message, field: str) -> dict[str, str]:
    return {pair["key"][0]: pair["value"][0] for pair in step.get(field, [])}


def _need(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)
