"""What an update would do: its stages, which of them are done, and the tokens that the others would process.

Nothing is downloaded for it. What of a base or of data is not on this machine is named, and the stages are listed all
the same: with published sizes for data that is not here, without tokens where no tokenizer is.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from muscle.config.settings import BaseConfig
from muscle.config.update_file import UpdateConfig
from muscle.distributed import num_processes
from muscle.errors import ModelError
from muscle.files import check_can_write
from muscle.models.adapter_check import check_adapter, check_adapter_alone
from muscle.models.base_files import is_hub_name, reason_of, resolve_base
from muscle.models.bases import load_outline, load_tokenizer
from muscle.models.devices import slow_precision
from muscle.pipeline.at_hand import missing_bases, nothing_downloaded
from muscle.pipeline.given.notes import given_prompt_notes
from muscle.pipeline.load_data import load_data
from muscle.pipeline.loaded_bases import Side, with_fitting_method
from muscle.pipeline.memory.cards import Card
from muscle.pipeline.memory.plan_memory import MemoryPlan, plan_memory
from muscle.pipeline.resources import PEAK_FLOPS, UTILISATION, Estimate, ModelSizes, TreeSizes, estimate
from muscle.pipeline.run_folder import RunFolder
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.pipeline.token_counts import (
    count_tokens,
    learnt_tokens,
    read_texts,
    teacher_tokens,
    teaching_sides,
    token_counts,
    tree_sizes,
)
from muscle.tasks import TaskData

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

T = TypeVar("T")

Tokenizers = Mapping[Side, "PreTrainedTokenizerBase | None"]
"""Each base's tokenizer; None where it is not on this machine."""


@dataclass(frozen=True)
class PlannedStage:
    """One stage of an update.

    Attributes:
        name: such as "align piqa".
        state: "done", "given" (an adapter that exists), or "to run".
        num_examples: examples it reads.
        num_tokens: tokens it processes at most: forward and backward for training (all epochs), forward for scoring;
            at option level the nodes of the options' trees. None where data or tokenizer are not on this machine.
        teacher_tokens: tokens that its teachers read before, forward alone, each with its own tokenizer; None likewise.
        is_published: the examples are the published size of data that is not on this machine.
    """

    name: str
    state: str
    num_examples: int
    num_tokens: int | None
    teacher_tokens: int | None = 0
    is_published: bool = False


@dataclass(frozen=True)
class Plan:
    """What an update would do.

    Attributes:
        stages: in their order, all but the report.
        resources: sizes of the new base, and what training on it takes; None where its config.json is not here.
        knows_tokens: whether the resources' time and stores are known: data and tokenizer are here.
        notes: what is not on this machine, a line each.
        memory: of each stage to run; None where no config.json is here.
    """

    stages: tuple[PlannedStage, ...]
    resources: tuple[ModelSizes, Estimate] | None
    knows_tokens: bool
    notes: tuple[str, ...]
    memory: MemoryPlan | None

    def to_json(self) -> dict[str, object]:
        """Return the plan as a JSON object."""
        return {
            "stages": [asdict(stage) for stage in self.stages],
            "resources": self._resources(),
            "memory": None if self.memory is None else self.memory.to_json(),
            "notes": list(self.notes),
        }

    def _resources(self) -> dict[str, object] | None:
        """Return what training takes, and what the time assumes; None where nothing is known."""
        if self.resources is None:
            return None
        sizes, found = self.resources
        return {
            "parameters": sizes.parameters,
            "weights_bytes": found.weights,
            "adapter_bytes": found.adapter,
            "activations_bytes": found.activations,
            "chunk_bytes": found.chunk,
            "total_bytes": found.total,
            "store_bytes": found.store if self.knows_tokens else None,
            "flops_per_token": found.flops_per_token,
            "seconds": found.seconds if self.knows_tokens else None,
            "peak_flops": PEAK_FLOPS,
            "utilisation": UTILISATION,
            "num_processes": num_processes(),
        }


def plan_update(config: UpdateConfig, *, card: Card | None = None) -> Plan:
    """Tell what an update would do, without loading a model or downloading anything.

    A stage whose inputs are not known yet, because an earlier stage is still to run or a base is not here, is to run as
    well.

    Args:
        config: the update.
        card: the GPU that its stages shall fit.

    Raises:
        MuscleError: an input is missing or wrong.
    """
    with nothing_downloaded():
        config = with_fitting_method(config)
        update_stages = UpdateStages(config)
        update_stages.data = load_data(config, split_seed=update_stages.split_seed, outlines=True)
        outlines = [data.task.name for data in update_stages.data.values() if data.is_outline]
        missing = missing_bases([update_stages.bases.settings(side) for side in update_stages.sides])
        notes = []
        if update_stages.record is not None:
            known = (data for data in update_stages.data.values() if not data.is_outline)
            notes += [update_stages.record.check(data) for data in known]
        if outlines:
            notes.append(f"not on this machine: the data of {', '.join(outlines)}; published sizes stand for it")
        if missing:
            notes.append(f"not on this machine: {', '.join(dict.fromkeys(missing))}; `muscle update` downloads them")
        tokenizers: Tokenizers = {
            side: _if_cached(update_stages.bases.settings(side), load_tokenizer) for side in update_stages.sides
        }
        tokenizer = tokenizers["new"]
        architecture = _if_cached(config.new, _read_architecture)
        sizes = {side: _sizes(update_stages.bases.settings(side)) for side in update_stages.sides}
        if architecture is None:
            notes += _without_configs(
                [update_stages.bases.settings(side) for side in sizes if not sizes[side]], sizes, card
            )
        elif tokenizer is None or outlines:
            notes.append("tokens, time and stores are not known without data and tokenizer")
        knows_tokens = tokenizer is not None and not outlines
        resources = None if architecture is None else _resources(update_stages, architecture, tokenizers)
        listed = update_stages.all()
        stages = list(_planned(update_stages, listed, tokenizers, are_bases_here=not missing))
        _check_given(update_stages)
        notes += given_prompt_notes(update_stages, tokenizers)
        waiting = {stage.name for stage in stages if stage.state == "to run"}
        if waiting:
            check_can_write(update_stages.folder, folder=True)
            slow = slow_precision(config.training.precision)
            notes += [slow] if slow and card is None else []  # the cards that --gpu knows compute in bf16
        to_run = [stage for stage in listed if stage.name in waiting]
        memory = plan_memory(update_stages, to_run, sizes, tokenizers, card)
        return Plan(tuple(stages), resources, knows_tokens, tuple(notes), memory)


def _check_given(update_stages: UpdateStages) -> None:
    """Refuse given adapters as the update would, as far as what is on this machine tells; no weights are loaded.

    Raises:
        ModelError: one is not there, damaged, or does not fit its base.
    """
    of_methods = update_stages.methods.values()
    teachers = [Path(each) for name in update_stages.data for method in of_methods for each in method.teachers_of(name)]
    for side in update_stages.sides:
        base, folders = update_stages.bases.settings(side), list(update_stages.given(side).values())
        folders += teachers if side == "new" else []
        if not folders:
            continue
        is_here = not missing_bases([base]) and not base.base.endswith(".gguf")
        outline = load_outline(base) if is_here else None
        for folder in dict.fromkeys(folders):
            check_adapter(outline, folder) if outline else check_adapter_alone(folder)


def _if_cached(base: BaseConfig, load: Callable[[BaseConfig], T]) -> T | None:
    """Load a part of a base; None where it is on the hub and not in its cache."""
    try:
        return load(base)
    except ModelError:
        if not is_hub_name(base):
            raise
        return None


def _without_configs(
    bases: Sequence[BaseConfig], sizes: Mapping[Side, ModelSizes | None], card: Card | None
) -> Iterator[str]:
    """Say what is not known without the config.json of bases, and how to get it, a command a line."""
    is_known = any(sizes.values())
    what = "time is" if is_known else "memory and time are"
    fit = "" if card is None or is_known else f", nor whether {card.name} holds it"
    names = ", ".join(dict.fromkeys(base.base for base in bases))
    yield f"{names}: no config.json here, so {what} not estimated{fit}; the file alone comes with:"
    for base in dict.fromkeys((each.base, each.revision) for each in bases):
        revision = f" --revision {shlex.quote(base[1])}" if base[1] else ""
        yield f"hf download {shlex.quote(base[0])} config.json{revision}"


def _planned(
    update_stages: UpdateStages, stages: Sequence[Stage], tokenizers: Tokenizers, *, are_bases_here: bool
) -> Iterator[PlannedStage]:
    max_length = update_stages.config.align_training().max_length
    run = RunFolder(update_stages.folder)
    states: dict[str, str] = {}
    for stage in stages:
        if stage.data is None:
            continue
        known = are_bases_here and not stage.data.is_outline
        states[stage.name] = state = _state(stage, states, run, are_inputs_known=known)
        # The new base's stands for one that is not here: most pairs share it.
        data, tokenizer = stage.data, tokenizers.get(stage.side) or tokenizers["new"]
        examples = len(data.test)
        if stage.epochs is not None or stage.answers:
            examples = len(data.train) + len(data.validation) + len(stage.unlabelled)
        tokens: int | None = 0
        asked: int | None = 0
        if state == "to run" and stage.side in tokenizers and (tokenizer is None or data.is_outline):
            tokens, asked = None, None if stage.teachers else 0
        elif state == "to run" and tokenizer is not None and stage.side in tokenizers:
            tokens = _tokens_of(stage, data, tokenizer, max_length)
            asked = teacher_tokens(stage, data, tokenizers, max_length)
        yield PlannedStage(stage.name, state, examples, tokens, asked, data.is_outline)


def _tokens_of(stage: Stage, data: TaskData, tokenizer: PreTrainedTokenizerBase, max_length: int) -> int:
    """Return the tokens that a stage processes at most."""
    if stage.epochs is not None:
        return learnt_tokens(stage, data, tokenizer, max_length)
    if stage.answers:
        read = (*data.train, *data.validation, *stage.unlabelled)
        return stage.answers * count_tokens(tokenizer, data.task, read, scoring=True)
    return count_tokens(tokenizer, data.task, data.test, scoring=True)


def _state(stage: Stage, before: Mapping[str, str], run: RunFolder, *, are_inputs_known: bool) -> str:
    if stage.work is None:
        return "given"
    if not are_inputs_known or any(before[name] == "to run" for name in stage.needs):
        return "to run"
    return "done" if run.is_done(stage.name, stage.inputs()) else "to run"


def _read_architecture(base: BaseConfig) -> PretrainedConfig:
    """Read a base's config.json, or a GGUF file's header."""
    from transformers import AutoConfig

    path = resolve_base(base)
    gguf = {"gguf_file": path.name} if path.is_file() else {}
    folder = path.parent if path.is_file() else path
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=base.trust_remote_code, **gguf)
    except Exception as error:
        raise ModelError(f"base {base.base}: its config.json cannot be read ({reason_of(error)})") from error


def _sizes(base: BaseConfig) -> ModelSizes | None:
    """Return a base's sizes; None where its config.json is not here."""
    architecture = _if_cached(base, _read_architecture)
    return None if architecture is None else ModelSizes.of(architecture)


def _resources(
    update_stages: UpdateStages, architecture: PretrainedConfig, tokenizers: Tokenizers
) -> tuple[ModelSizes, Estimate]:
    """Estimate memory and time of training the compatibility adapter, per GPU.

    Where the tokens are not known, the longest example is taken to be `training.max_length` long.
    """
    config, sizes = update_stages.config, ModelSizes.of(architecture)
    settings, tokenizer = config.align_training(), tokenizers["new"]
    lengths: list[int] = []
    stages = [(update_stages.align(data), data) for data in update_stages.data.values()]
    for stage, data in stages:
        if tokenizer is None or data.is_outline:
            lengths.append(settings.max_length)
            continue
        # The trees of whole options are counted apart.
        further = stage.unlabelled if stage.every_text else ()
        read = read_texts(stage, (*data.train, *data.validation, *further))
        counted = token_counts(tokenizer, data.task, read)
        lengths += [min(length, settings.max_length) for length in counted]
    first = stages[0][0]
    found = estimate(
        sizes,
        settings.model_copy(update={"epochs": first.epochs}),
        rank=config.alignment.rank(config.lora.r),
        tokens_per_epoch=sum(lengths),
        sequence_tokens=max(lengths),
        num_processes=num_processes(),
        num_teachers=len(teaching_sides(first, tokenizers)),
        trees=_trees_of(stages, tokenizers, settings.max_length) if config.alignment.unit == "options" else None,
    )
    return sizes, found


def _trees_of(stages: Sequence[tuple[Stage, TaskData]], tokenizers: Tokenizers, max_length: int) -> TreeSizes | None:
    """Return the sizes of the option trees that are trained on; None where they are not known."""
    if any(data.is_outline for _, data in stages):
        return None
    return tree_sizes(stages, tokenizers, max_length)
