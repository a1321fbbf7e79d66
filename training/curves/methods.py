"""The ways to train of which there are curves, by name; without torch."""

from __future__ import annotations

from typing import Literal, get_args

Method = Literal["fine-tune", "scratch", "hindi-2022", "hindi-2022-random"]
"""Trained weights with a fitted head, all layers; random weights by the recipe ``best``; the Hindi paper's
protocol, and its epochs on all layers of random weights, for networks that ImageNet's do not exist of."""

METHODS: tuple[Method, ...] = get_args(Method)
