"""What an update would do: its stages, which of them are done, and the tokens that the others would process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from muscle.config.update_file import UpdateConfig
from muscle.distributed import num_processes
from muscle.errors import ModelError
from muscle.models.bases import load_tokenizer, reason_of, resolve_base
from muscle.pipeline.resources import PEAK_FLOPS, UTILISATION, Estimate, ModelSizes, estimate
from muscle.pipeline.run_folder import RunFolder
from muscle.pipeline.stage import Stage
from muscle.pipeline.stages import UpdateStages
from muscle.tasks import Example, Task, TaskData

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class PlannedStage:
    """One stage of an update.

    Attributes:
        name: such as "align piqa".
        state: "done", "given" (an adapter that exists), or "to run".
        num_examples: examples it reads.
        num_tokens: tokens it processes at most: forward and backward for training (all epochs), forward for scoring.
    """

    name: str
    state: str
    num_examples: int
    num_tokens: int

    def as_dict(self) -> dict[str, object]:
        """Return the stage as plain data."""
        return asdict(self)


def plan_stages(config: UpdateConfig) -> list[PlannedStage]:
    """List an update's stages in their order, all but the report, without loading a model.

    A stage whose inputs are not known yet, because an earlier stage is still to run, is to run as well.

    Raises:
        MuscleError: an input is missing or wrong.
    """
    update_stages = UpdateStages(config)
    run = RunFolder(update_stages.folder)
    tokenizer = load_tokenizer(config.new)
    learnt: dict[str, int] = {}
    scored: dict[str, int] = {}
    for name, data in update_stages.data.items():
        learnt[name] = count_tokens(tokenizer, data.task, (*data.train, *data.validation))
        scored[name] = count_tokens(tokenizer, data.task, data.test, scoring=True)
    states: dict[str, str] = {}
    planned: list[PlannedStage] = []
    for stage in update_stages.all():
        if stage.data is None:
            continue
        states[stage.name] = state = _state(stage, states, run)
        name = stage.data.task.name
        examples, tokens = len(stage.data.test), scored[name]
        if stage.epochs is not None:
            examples, tokens = _trained_on(stage, stage.data, stage.epochs, tokenizer, learnt[name])
        elif stage.answers:
            read = (*stage.data.train, *stage.data.validation, *stage.unlabelled)
            examples = len(read)
            tokens = stage.answers * count_tokens(tokenizer, stage.data.task, read, scoring=True)
        planned.append(PlannedStage(stage.name, state, examples, tokens if state == "to run" else 0))
    return planned


def _trained_on(
    stage: Stage, data: TaskData, epochs: int, tokenizer: PreTrainedTokenizerBase, learnt: int
) -> tuple[int, int]:
    """Return the examples of a training and the tokens of all its epochs; `learnt` are those of one of tokens."""
    labelled, further = (*data.train, *data.validation), 0
    if stage.answers:
        # As long as the reference, each: what they share is read once.
        read = count_tokens(tokenizer, data.task, tuple(replace(each, target="") for each in labelled))
        learnt = read + stage.answers * (learnt - read)
        further = len(stage.unlabelled) * learnt // len(labelled)
    elif stage.on_options:
        learnt, further = (
            count_tokens(tokenizer, data.task, part, as_tree=True) for part in (labelled, stage.unlabelled)
        )
    return len(labelled) + len(stage.unlabelled), (stage.epochs_before + epochs) * learnt + epochs * further


def _state(stage: Stage, before: Mapping[str, str], run: RunFolder) -> str:
    if stage.work is None:
        return "given"
    if any(before[name] == "to run" for name in stage.needs):
        return "to run"
    return "done" if run.is_done(stage.name, stage.inputs()) else "to run"


def count_tokens(
    tokenizer: PreTrainedTokenizerBase,
    task: Task,
    examples: tuple[Example, ...],
    *,
    scoring: bool = False,
    as_tree: bool = False,
) -> int:
    """Count the tokens of examples.

    For training these are context and answer, as a tree the context and every option; for scoring every option with its
    context, or the context and the longest answer that may be generated.
    """
    if not examples:
        return 0
    own = {"add_special_tokens": False} if task.prompt.chat_template else {}
    examples = task.prompt.render(examples, tokenizer)
    if as_tree:
        texts = [each.context + "".join(each.delimiter + choice for choice in each.choices) for each in examples]
    elif not scoring:
        texts = [example.context + example.target for example in examples]
    elif task.kind == "choice":
        texts = [example.context + example.delimiter + choice for example in examples for choice in example.choices]
    else:
        texts = [example.context for example in examples]
    extra = len(examples) * task.generation.max_new_tokens if scoring and task.generation else 0
    return sum(len(ids) for ids in tokenizer(texts, **own)["input_ids"]) + extra


def plan_resources(config: UpdateConfig) -> tuple[ModelSizes, Estimate]:
    """Estimate memory and time of training the compatibility adapter, per GPU, without loading a model.

    Raises:
        MuscleError: an input is missing or wrong.
    """
    from transformers import AutoConfig

    path = resolve_base(config.new)
    gguf = {"gguf_file": path.name} if path.is_file() else {}
    folder = path.parent if path.is_file() else path
    try:
        architecture = AutoConfig.from_pretrained(folder, trust_remote_code=config.new.trust_remote_code, **gguf)
    except Exception as error:
        raise ModelError(f"base {config.new.base}: its config.json cannot be read ({reason_of(error)})") from error
    sizes = ModelSizes.of(architecture)
    tokenizer, settings = load_tokenizer(config.new), config.align_training()
    lengths: list[int] = []
    for data in UpdateStages(config).data.values():
        read = data.task.prompt.render((*data.train, *data.validation), tokenizer)
        texts = [example.context + example.target for example in read]
        lengths += [min(len(ids), settings.max_length) for ids in tokenizer(texts)["input_ids"]]
    found = estimate(
        sizes,
        settings,
        rank=config.alignment.lora.r if config.alignment.lora else config.lora.r,
        tokens_per_epoch=sum(lengths),
        sequence_tokens=max(lengths),
        num_processes=num_processes(),
    )
    return sizes, found


def resources_as_dict(sizes: ModelSizes, found: Estimate) -> dict[str, object]:
    """Return what `print_resources` prints as plain data, and what the time assumes."""
    return {
        "parameters": sizes.parameters,
        "weights_bytes": found.weights,
        "adapter_bytes": found.adapter,
        "activations_bytes": found.activations,
        "chunk_bytes": found.chunk,
        "total_bytes": found.total,
        "store_bytes": found.store,
        "flops_per_token": found.flops_per_token,
        "seconds": found.seconds,
        "peak_flops": PEAK_FLOPS,
        "utilisation": UTILISATION,
        "num_processes": num_processes(),
    }


def print_resources(sizes: ModelSizes, found: Estimate) -> None:
    """Print the estimate as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("training the compatibility adapter, per GPU", title="What it would take (estimated)")
    table.add_column("", justify="right")
    for name, value in (
        (f"weights of a base, {sizes.parameters / 1e9:.2f} B", found.weights),
        ("LoRA: weights, gradients, AdamW", found.adapter),
        ("activations of the longest batch", found.activations),
        ("logits of a chunk", found.chunk),
        ("memory in all", found.total),
        ("teacher stores, on disk", found.store),
    ):
        table.add_row(name, f"{value / 1e9:.2f} GB")
    hours = found.seconds / 3600
    table.add_row(
        f"time on an A100 at {UTILISATION:.0%} of its peak",
        f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min",
    )
    Console().print(table)
    Console().print("While the stores are built the old base is in memory too. The formulas: docs/scale.md")


def print_plan(stages: list[PlannedStage]) -> None:
    """Print the plan as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "state", title="What would be done")
    table.add_column("examples", justify="right")
    table.add_column("tokens, at most", justify="right")
    for stage in stages:
        tokens = f"{stage.num_tokens:,}" if stage.state == "to run" else ""
        table.add_row(stage.name, stage.state, f"{stage.num_examples:,}", tokens)
    table.add_row("compare and report", "", "", "")
    Console().print(table)
    total = sum(stage.num_tokens for stage in stages)
    Console().print(f"{total:,} tokens at most in the stages to run")
