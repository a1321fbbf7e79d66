import importlib.metadata

import pytest
from merkit.engine import backbone_names
from merkit.engine.backbone_names import BACKBONES, backbone_from_name
from merkit.engine.errors import UsageError


@pytest.mark.parametrize("name", BACKBONES)
def test_the_names_of_files_and_of_papers(name: str) -> None:
    assert backbone_from_name(name) == name
    assert backbone_from_name(BACKBONES[name]) == name


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("VGG-16", "vgg16"),
        ("resnet_18", "resnet18"),
        ("MobileNet-V3-Small", "mobilenetv3"),
        ("EfficientNet", "efficientnet_b0"),
        ("SqueezeNet 1.0", "squeezenet"),
        ("DenseNet", "densenet121"),
        ("Audio-CNN", "audiocnn"),
        ("MusiCNN", "musicnn"),
    ],
)
def test_other_spellings(spelling: str, name: str) -> None:
    assert backbone_from_name(spelling) == name


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(
        UsageError, match=r"unknown backbone 'vgg19'; known: alexnet, vgg16, .*squeezenet, audiocnn"
    ):
        backbone_from_name("vgg19")


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("hindi", "hindi5"),
        ("HINDI6", "hindi5"),
        ("acurate", "Accurate"),
        ("wavenet", ""),
        ("", ""),
        ("x", ""),
    ],
)
def test_a_near_name_is_named(name: str, near: str) -> None:
    said = f"; did you mean {near}?" if near else ""
    assert backbone_names.did_you_mean(name, ["audiocnn", "hindi5", "Accurate"]) == said


def test_other_packages_add_names(monkeypatch: pytest.MonkeyPatch):
    class Entry:
        def __init__(self, name: str) -> None:
            self.name = name

    def entries(group: str) -> list[Entry]:
        assert group == "merkit.backbones"
        return [Entry("theirs"), Entry("audiocnn")]

    monkeypatch.setattr(importlib.metadata, "entry_points", entries)
    assert backbone_from_name("theirs") == "theirs"
    assert list(backbone_names.outside_backbones()) == ["theirs"]  # our own names stay ours
    with pytest.raises(UsageError, match=r"known: alexnet.*theirs"):
        backbone_from_name("nobodys")
