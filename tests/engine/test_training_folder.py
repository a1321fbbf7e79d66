"""A folder without a network of its own: the line says what it is, and what to type."""

from __future__ import annotations

from pathlib import Path

import pytest
from merkit.engine.artifact import path_from_model
from merkit.engine.errors import UsageError
from merkit.engine.training_folder import CHECKPOINT, no_training


@pytest.mark.parametrize(
    ("trainings", "says"),
    [
        (
            ["grouped", "random"],
            "holds trainings in grouped and random: name one of them, such as {}/grouped",
        ),
        (["a b"], "holds trainings in a b: name one of them, such as '{}/a b'"),
        (
            ["net/grouped", "net/random", "other/final", "other/fold-1", "third/fold-1", "x", "y"],
            "holds trainings in net/grouped, net/random, other and 3 more: name one of them, such as "
            "{}/net/grouped",
        ),
        (
            ["fold-1", "fold-2", "fold-10"],
            "is a cross-validation without --final: its mer-train command with --resume --final makes a "
            "network of it; or name one of its folds, such as {}/fold-1",
        ),
        ([], "is a folder, and no training's: it holds no checkpoint.safetensors"),
    ],
)
def test_what_the_folder_is_and_what_to_name(trainings: list[str], says: str, tmp_path: Path):
    for name in trainings:
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / CHECKPOINT).write_bytes(b"")
    expected = f"{tmp_path} {says.format(tmp_path)}"
    assert str(no_training(tmp_path)) == expected
    with pytest.raises(UsageError) as error:
        path_from_model(str(tmp_path))
    assert str(error.value) == expected
