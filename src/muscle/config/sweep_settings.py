"""The `sweep:` section of an update.yaml: which variants of the update are held against each other, and over what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator

from muscle.config.section import Section, Seed
from muscle.config.settings import BaseConfig

PresetName = Literal["table7", "controls", "methods", "rivals"]
"""Ready lists of variants: the paper's Table 7; nothing but the controls; the methods that muscle has; those that
others published."""


class SweepSettings(Section):
    """What `muscle sweep` trains beside the update as it stands; `muscle update` does not read it.

    Attributes:
        vary: dotted keys to the values that each is given; all combinations are variants.
        variants: further variants by name: dotted keys to values.
        presets: ready lists of variants.
        seeds: values of `training.seed`; each variant is trained with each of them. Empty: the update's own.
        third: a base that has nothing to do with the old one, put in its place as a control.
        controls: whether the controls are trained.
    """

    vary: Mapping[str, Annotated[list[object], Field(min_length=1)]] = Field(default_factory=dict)
    variants: Mapping[str, Mapping[str, object]] = Field(default_factory=dict)
    presets: list[PresetName] = Field(default_factory=list)
    seeds: list[Seed] = Field(default_factory=list)
    third: BaseConfig | None = None
    controls: bool = True

    @field_validator("third", mode="before")
    @classmethod
    def _short(cls, value: object) -> object:
        return {"base": value} if isinstance(value, str) else value

    @field_validator("seeds")
    @classmethod
    def _each_once(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected each seed once, found {value}")
        return value
