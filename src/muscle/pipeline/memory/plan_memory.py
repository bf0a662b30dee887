"""The memory of an update's stages as the dry run tells it: the largest first, and what to change to fit a card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muscle.config.alignment import AlignmentSettings
from muscle.config.update_file import UpdateConfig
from muscle.pipeline.loaded_bases import Side
from muscle.pipeline.memory.cards import Card, smallest_that_holds
from muscle.pipeline.memory.changes import Changes, changes_that_fit, memory_of
from muscle.pipeline.memory.stage_memory import StageKind, StageMemory, StageShape
from muscle.pipeline.resources import ModelSizes, TreeSizes
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.token_counts import token_counts, tree_sizes
from muscle.tasks import TaskData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    Tokenizers = Mapping[Side, PreTrainedTokenizerBase | None]


@dataclass(frozen=True)
class MemoryPlan:
    """What the stages that are to run take of a GPU.

    Attributes:
        stages: the largest first.
        card: that was named.
        changes: with which all stages fit it, by their keys; empty where they do, None where no setting is enough.
        smallest: the smallest known card that holds them as they are.
        assumes: what the numbers take for granted, a line each.
    """

    stages: tuple[StageMemory, ...]
    card: Card | None
    changes: Changes | None
    smallest: Card | None
    assumes: tuple[str, ...]

    def fits(self, stage: StageMemory) -> bool | None:
        """Tell whether a stage fits the named card; None without one."""
        return None if self.card is None else stage.total <= self.card.usable

    def to_json(self) -> dict[str, object]:
        """Return it as a JSON object."""
        card = self.card
        return {
            "gpu": None if card is None else {"name": card.name, "bytes": card.bytes, "usable_bytes": card.usable},
            "largest": self.stages[0].name if self.stages else None,
            "fits": None if card is None else all(map(self.fits, self.stages)),
            "changes": None if card is None or self.changes is None else dict(self.changes),
            "smallest_gpu": self.smallest.name if self.smallest else None,
            "stages": [each.to_json() | {"fits": self.fits(each)} for each in self.stages],
            "assumes": list(self.assumes),
        }


def plan_memory(
    update_stages: UpdateStages,
    to_run: Sequence[Stage],
    sizes: Mapping[Side, ModelSizes | None],
    tokenizers: Tokenizers,
    card: Card | None,
) -> MemoryPlan | None:
    """Tell the memory of the stages that are to run; None where no base's config.json is here.

    A base that is not here is taken to be as large as the other one.
    """
    found = sizes["new"] or sizes.get("old")
    if found is None:
        return None
    both: dict[Side, ModelSizes] = {side: size or found for side, size in sizes.items()}
    shapes = _shapes(update_stages, to_run, tokenizers, set(sizes))
    config = update_stages.config
    stages = memory_of(shapes, config, both)
    changes: Changes | None = {}
    if card is not None and stages and stages[0].total > card.usable:
        changes = changes_that_fit(shapes, config, both, usable=card.usable)
    return MemoryPlan(
        stages,
        card,
        changes,
        smallest_that_holds(stages[0].total) if stages else None,
        tuple(_assumed(config, sizes, shapes)),
    )


def _assumed(config: UpdateConfig, sizes: Mapping[Side, ModelSizes | None], shapes: Sequence[StageShape]) -> list[str]:
    other: dict[Side, Side] = {"old": "new", "new": "old"}
    lines = [
        f"the {side} base is taken to be as large as the {other[side]} one: its config.json is not here"
        for side, size in sizes.items()
        if size is None
    ]
    if any(each.longest is None for each in shapes):
        lines.append(
            f"examples are taken to be {config.training.max_length} tokens long (training.max_length): data or "
            "tokenizer is not here"
        )
    if config.evaluation.backend == "vllm":
        lines.append("scoring with vLLM takes the share of the GPU that evaluation.vllm gives it, and is left out")
    return lines


def _shapes(
    update_stages: UpdateStages, to_run: Sequence[Stage], tokenizers: Tokenizers, sides: AbstractSet[Side]
) -> list[StageShape]:
    """Return what the memory of each stage depends on; scoring by vLLM, or out of a record, is left out."""
    aligned = {
        update_stages.align(data, run).name: run
        for data in update_stages.data.values()
        for run in update_stages.methods
    }
    shapes = []
    lengths: dict[tuple[str, Side, str], int | None] = {}
    trees: dict[str, TreeSizes | None] = {}
    for stage in to_run:
        data = stage.data
        if data is None:
            continue
        name = data.task.name
        learns = stage.epochs is not None or stage.answers > 0
        if stage.side not in sides or (not learns and update_stages.config.evaluation.backend == "vllm"):
            continue
        tokenizer = tokenizers[stage.side] or tokenizers["new"]
        key = (name, stage.side, "train" if learns else "test")
        if key not in lengths:
            lengths[key] = _longest(data, tokenizer, scoring=not learns)
        run = "compat" if stage.name == f"control {name}" else aligned.get(stage.name, "")
        kind = _work_of(stage, update_stages.methods[aligned[stage.name]] if stage.name in aligned else None)
        if stage.on_options and stage.epochs is not None and name not in trees:
            trees[name] = _largest_trees(
                stage, data, tokenizers, update_stages.config.training.max_length, lengths[key]
            )
        draws = data.task.generation is not None and kind in ("draw", "score")
        shapes.append(
            StageShape(
                stage.name,
                kind,
                stage.side,
                lengths[key],
                generated=data.task.generation.max_new_tokens if draws and data.task.generation else 0,
                run=run,
                trees=trees.get(name) if stage.on_options and stage.epochs is not None else None,
            )
        )
    return shapes


def _work_of(stage: Stage, method: AlignmentSettings | None) -> StageKind:
    """Return what a stage does; `method` is of one that trains a compatibility adapter."""
    assert stage.data is not None, "the report takes no memory of a GPU"
    if method is not None:
        return "score" if method.unit == "weights" else "align"
    if stage.epochs is None:
        return "draw" if stage.answers else "score"
    return "labels" if stage.name == f"control {stage.data.task.name}" else "finetune"


def _longest(data: TaskData, tokenizer: PreTrainedTokenizerBase | None, *, scoring: bool) -> int | None:
    if tokenizer is None or data.is_outline:
        return None
    examples = data.test if scoring else (*data.train, *data.validation, *data.unlabelled)
    return max(token_counts(tokenizer, data.task, examples, scoring=scoring), default=None)


def _largest_trees(
    stage: Stage, data: TaskData, tokenizers: Tokenizers, max_length: int, longest: int | None
) -> TreeSizes | None:
    """Return the sizes of a training's trees; of answers that are still to be drawn, as long as they may become."""
    if data.is_outline:
        return None
    if not stage.answers:
        return tree_sizes([(stage, data)], tokenizers, max_length)
    if longest is None or data.task.generation is None:
        return None
    drawn = stage.answers * data.task.generation.max_new_tokens
    return TreeSizes(longest + drawn, drawn, stage.answers, trained=0, asked=0, num_teachers=len(stage.teachers))
