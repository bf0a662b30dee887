"""What a compatibility adapter learns from in another library's loop: a section of YAML, or the same in Python."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from muscle.config.methods import MaskName
from muscle.config.section import Fraction, Positive, Section
from muscle.errors import ConfigError
from muscle.yaml_files import UserYaml, read_yaml

VARIABLE = "MUSCLE_CONFIG"
"""Names the YAML file for libraries whose own settings take no further keys."""


class Teaching(Section):
    """Two frozen task models and the formula; epochs, learning rate, LoRA and data are the library's own settings.

    Attributes:
        old: M_v1 as `BASE+ADAPTER`; a `BASE` alone is a model that was tuned whole.
        new: M_v2 in the same form, the model that the student starts from.
        temperature: T of Eq. 1.
        mask: which tokens lean on the old model.
        ce_weight: 1 - lambda of Eq. 5.
        store: folder of what the teachers leave; a second training with the same data finds it there.
        store_precision: of vectors and log-probabilities on disk.
        batch_size: examples a forward pass while the teachers run.
        precision: of the teachers' weights.
        quantization: `4bit` for teachers beside a QLoRA student.
        chunk_memory_mb: budget for the logits of a chunk of tokens.
    """

    old: str
    new: str
    temperature: Annotated[float, Field(gt=0)] = 2.0
    mask: MaskName = "student_wrong"
    ce_weight: Fraction = 0.0
    store: str = "teachers"
    store_precision: Literal["auto", "bf16", "fp16", "float32"] = "auto"
    batch_size: Positive = 4
    precision: Literal["auto", "bf16", "float32"] = "auto"
    quantization: Literal["4bit"] | None = None
    chunk_memory_mb: Positive = 128


def teaching(values: dict[str, object], *, source: str) -> Teaching:
    """Validate the keys of a section.

    Args:
        values: the keys.
        source: what messages call them.

    Raises:
        ConfigError: a key is unknown, missing or of the wrong type.
    """
    return UserYaml(source, values).validate(Teaching)


def teaching_from_file() -> Teaching:
    """Read the YAML file that the environment variable MUSCLE_CONFIG names.

    Raises:
        ConfigError: it names none, or one that is no such file.
    """
    named = os.environ.get(VARIABLE)
    if not named:
        raise ConfigError(
            f"{VARIABLE}: expected the path of a YAML file with old, new and what differs from the defaults; found "
            "nothing (docs/integrations.md)"
        )
    return read_yaml(Path(named), missing=f"{VARIABLE} names it, and there is no such file").validate(Teaching)
