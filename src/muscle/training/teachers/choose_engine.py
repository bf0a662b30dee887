"""Chooses the engine: what is there of the teachers while the compatibility adapter trains.

`projected` (a vector per token and teacher on disk, the default), `mixed` (one vector per token, for masks that don't
follow the student), `hidden` (their last states on disk, their heads in memory) and `online` (both models in memory,
the plain formulas). The result is the same to rounding. `topk` (k log-probabilities and the mass of the others) is
approximate. Where a model doesn't allow an engine, the next one is taken and the log says why.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from muscle.config.methods import EngineName
from muscle.errors import ModelError
from muscle.training.head.usable_head import Heads, usable_head

if TYPE_CHECKING:
    from peft import PeftModel

logger = logging.getLogger(__name__)


def choose_engine(
    wanted: EngineName,
    *,
    student: PeftModel,
    old: PeftModel,
    new: PeftModel,
    sample: Sequence[int],
    old_sample: Sequence[int] | None = None,
    one_vector: bool = False,
) -> tuple[EngineName, Heads | None]:
    """Return the wanted engine, or the nearest that the models allow; the log says why it is another.

    Args:
        wanted: the engine of the settings.
        student: the model to train.
        old: M_v1.
        new: M_v2, on the student's base.
        sample: a few token ids to try the heads on.
        old_sample: the same in the old model's tokens, where its tokenizer is another.
        one_vector: whether a token's target is one distribution, whoever the student is: one vector is enough then.

    Returns:
        The engine, and the heads where it isn't `online`.

    Raises:
        ModelError: the tokenizers differ, and a head cannot be applied outside of its model.
    """
    if wanted == "online" and old_sample is None:
        return "online", None
    try:
        heads = Heads(usable_head(student, sample), usable_head(old, old_sample or sample), usable_head(new, sample))
    except ModelError as error:
        if old_sample is not None:
            raise ModelError(
                f"{error}; where the tokenizers differ its distributions must be stored. alignment.method: options "
                "takes any pair"
            ) from error
        logger.warning("engine %s: %s; the online engine is used, with both teachers in memory", wanted, error)
        return "online", None
    if old_sample is not None:
        return _for_other_tokens(wanted, is_capped=heads.student.softcap is not None), heads
    if one_vector and wanted == "projected":
        wanted = "mixed"
    if wanted in ("projected", "mixed") and heads.student.softcap is not None:
        logger.info("engine %s: the model caps its logits; the hidden engine is used", wanted)
        wanted = "hidden"
    return wanted, heads


def _for_other_tokens(wanted: EngineName, *, is_capped: bool) -> EngineName:
    """Return the engine where the tokenizers differ: `projected`, or `topk` where the student caps its logits."""
    used: EngineName = "topk" if is_capped or wanted == "topk" else "projected"
    if used != wanted:
        why = "and the model caps its logits: the topk engine is used, which is approximate"
        logger.info(
            "engine %s: the tokenizers differ, %s", wanted, why if is_capped else "so the projected engine is used"
        )
    return used
