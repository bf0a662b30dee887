"""What a training step costs: ours from each kind of teacher store, and the plain ways, on the same batches.

    python benchmarks/engine.py --old runs/smollm2/old --new runs/smollm2/new [--rounds 3] [--batch 8] [--seq 128]
    ... --vocab 8192 49152 131072 262144 --rounds 1        # a sweep: every vocabulary (or --seq, or both) in turn
    ... --seq 128 512 2048 4096 --tokens 4096 --rounds 1   # the same tokens a step, cut otherwise
    ... --vocab 262144 --batch 16 --seq 512 --steps 1 --warmup 0 --rounds 1 --memory 20
    ... --variants projected --rounds 1 --profile          # where a step's time goes

One process for each measurement, rounds interleaved, medians over the rounds. A step is forward, backward and optimizer
on a batch of random tokens of one length, as `Trainer` runs it. Memory is the process's peak during the steps above
what it held with all models loaded. The variants: `three forwards` (both teachers online, the plain formula,
transformers' and PEFT's layers as they are), `online` (the same with our layers), `projected` and `hidden` (the teacher
stores), `fine-tuning` (our task adapter's step), `Trainer + PEFT` (a LoRA step with the model's own loss), and those of
`engine_peers.py` where their libraries are installed. The JSON names the machine and its load before every measurement:
figures taken on a busy machine are worth little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from engine_peers import PEERS, peer_trainer
from engine_profile import by_part
from kept_result import processor

HERE = Path(__file__).resolve().parent
OURS = ("three forwards", "online", "projected", "hidden", "fine-tuning", "Trainer + PEFT")
VARIANTS = (*OURS, *PEERS)
STORED = ("projected", "hidden")
BARS = (
    ("projected", "three forwards", 0.4, 0.6),
    ("projected", "Trainer + PEFT", 0.9, 1.0),
    ("projected", "fine-tuning", 1.05, None),
    ("projected", "TRL chunked divergence", 0.5, None),
    ("projected", "TRL GKD", None, None),
    ("projected", "Liger fused JSD", None, None),
    ("projected", "sampled store", None, None),
)
"""Design's bars: variant, against which, at most this share of its time and of its memory."""


# One measurement, in a process of its own


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run one variant's steps and return seconds of each and the peak memory."""
    import torch

    from muscle.config.settings import BaseConfig, LoraSettings
    from muscle.models.adapters import new_adapter
    from muscle.models.bases import load_base
    from muscle.training.data.examples import TokenizedExamples

    if options.memory:
        resource.setrlimit(resource.RLIMIT_AS, (options.memory << 30, options.memory << 30))
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    lora = LoraSettings(r=options.rank, alpha=2 * options.rank)
    needs_teachers = options.variant not in ("fine-tuning", "Trainer + PEFT", "sampled store")
    bases = {
        side: load_base(BaseConfig(base=str(getattr(options, side))), precision=options.precision)
        for side in (("old", "new") if needs_teachers else ("new",))
    }
    if options.vocab:
        for base in bases.values():
            base.model.resize_token_embeddings(options.vocab, mean_resizing=False)
            base.model.requires_grad_(False)
    student = new_adapter(bases["new"], lora)
    teachers = {side: frozen(new_adapter(base, lora)) for side, base in bases.items() if needs_teachers}
    vocabulary = bases["new"].model.get_output_embeddings().weight.shape[0]
    num_examples = options.batch * (options.warmup + options.steps)
    ids = torch.randint(3, vocabulary, (num_examples, options.seq)).tolist()
    data = TokenizedExamples(ids)
    for tensor in (*student.parameters(), *(p for model in teachers.values() for p in model.parameters())):
        tensor.sum()  # weights are read from the disk when they are first touched
    with tempfile.TemporaryDirectory() as folder:
        build, store_seconds = trainer_of(options, student, teachers, data, Path(folder))
        return {**run_steps(options, build, data, Path(folder)), "store_seconds": store_seconds}


def frozen(model: Any) -> Any:
    """A task model as a teacher is loaded: evaluation mode, the adapter in the base's dtype."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(model.dtype)
    return model.eval().requires_grad_(False)


def trainer_of(
    options: argparse.Namespace, student: Any, teachers: dict[str, Any], data: Any, folder: Path
) -> tuple[Any, dict[str, float]]:
    """Return what builds the variant's trainer, and how long the stores took."""
    from transformers import Trainer

    from muscle.training.stored_trainers import StoredTrainer, task_trainer
    from muscle.training.teachers.choose_engine import choose_engine
    from muscle.training.teachers.online import OnlineTeachers
    from muscle.training.teachers.run_teachers import StoreSettings, store_teacher
    from muscle.training.teachers.store import StoredTeachers
    from muscle.training.trainer import CompatibilityTrainer

    if options.variant == "fine-tuning":
        return partial(task_trainer, student), {}
    if options.variant == "Trainer + PEFT":
        return partial(Trainer, model=student), {}
    if options.variant in PEERS:
        return peer_trainer(options.variant, student, teachers), {}
    formula = {"temperature": 2.0, "mask": "student_wrong", "ce_weight": 0.0}
    if options.variant in ("three forwards", "online"):
        kind = CompatibilityTrainer if options.variant == "online" else plain(CompatibilityTrainer)
        return partial(kind, model=student, teachers=OnlineTeachers(**teachers), **formula), {}
    engine, heads = choose_engine(options.variant, student=student, **teachers, sample=data.sequences[0])
    assert engine == options.variant and heads is not None, f"{options.variant} is not possible here"
    stores, seconds = {}, {}
    for side, model in teachers.items():
        start = time.perf_counter()
        stores[side] = store_teacher(
            folder / side,
            model,
            getattr(heads, side),
            data.sequences,
            kind=engine,
            student=heads.student,
            made_of={"side": side},
            pad_token_id=0,
            settings=StoreSettings(temperature=2.0, batch_size=options.batch, description=side),
        )
        seconds[side] = time.perf_counter() - start
    stored = StoredTeachers(stores["old"], stores["new"], heads)
    return partial(StoredTrainer, model=student, teachers=stored, **formula), seconds


def plain(trainer: type) -> type:
    """A trainer of ours without our layers: the step as one would write it around transformers' Trainer."""
    from transformers import Trainer

    return type("PlainTrainer", (trainer,), {"train": Trainer.train})


def run_steps(options: argparse.Namespace, build: Any, data: Any, folder: Path) -> dict[str, Any]:
    """Train for warm-up and measured steps; seconds of each measured one, and memory at its peak."""
    import torch
    from torch.profiler import ProfilerActivity, profile
    from transformers import TrainerCallback, TrainingArguments

    from muscle.training.data.batches import PaddingCollator

    marks: list[float] = []
    held: list[int] = []
    num_timed = options.warmup + options.steps
    recorder = profile(activities=[ProfilerActivity.CPU], record_shapes=True)

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
            if len(held) == num_timed:
                recorder.__enter__()
            marks.append(time.perf_counter())

        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            marks.append(time.perf_counter())
            if len(held) == num_timed:
                recorder.__exit__(None, None, None)
            held.append(peak())

    trainer = build(
        args=TrainingArguments(
            output_dir=str(folder),
            max_steps=num_timed + options.profile,
            per_device_train_batch_size=options.batch,
            bf16=options.precision == "bf16",
            activation_checkpointing=options.checkpointing,
            use_cpu=not torch.cuda.is_available(),
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            seed=0,
        ),
        train_dataset=data,
        eval_dataset=data,
        data_collator=PaddingCollator(0),
        callbacks=[Clock()],
    )
    before = reset_peak()
    trainer.train()
    seconds = [end - begin for begin, end in zip(marks[::2], marks[1::2], strict=True)]
    return {
        "seconds": seconds[options.warmup : num_timed],
        "peak_bytes": held[num_timed - 1] - before,
        "weight_bytes": before,
        "matrix_flops": matrix_flops(trainer),
        "profile": by_part(recorder, vocabulary_of(trainer), options.rank) if options.profile else {},
    }


def vocabulary_of(trainer: Any) -> int:
    """Rows of the trained model's head."""
    return int(trainer.model.get_output_embeddings().weight.shape[0])


def matrix_flops(trainer: Any) -> int:
    """Count the floating-point operations of a step's matrix products, forward and backward, teachers included."""
    from torch.utils.flop_counter import FlopCounterMode

    batch = next(iter(trainer.get_train_dataloader()))
    with FlopCounterMode(display=False) as counter:
        trainer.training_step(trainer.model, batch)
    return int(counter.get_total_flops())


def matrix_rate(options: argparse.Namespace, tokens: int) -> float:
    """Measure this machine's operations a second on products of the model's sizes: each linear layer's once."""
    import torch

    from muscle.config.settings import BaseConfig
    from muscle.models.bases import load_base

    torch.set_num_threads(options.threads)
    model = load_base(BaseConfig(base=str(options.new)), precision=options.precision).model
    layers = [module for module in model.modules() if isinstance(module, torch.nn.Linear)]
    inputs = {n: torch.randn(tokens, n, dtype=model.dtype) for n in {layer.in_features for layer in layers}}
    flops, found = sum(2 * tokens * layer.weight.numel() for layer in layers), []
    for _ in range(4):
        start = time.perf_counter()
        with torch.no_grad():
            for layer in layers:
                inputs[layer.in_features] @ layer.weight.T
        found.append(flops / (time.perf_counter() - start))
    return max(found)


def reset_peak() -> int:
    """Start counting the peak anew; return what is held now."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        return int(torch.cuda.memory_allocated())
    Path("/proc/self/clear_refs").write_text("5")
    return status_bytes("VmRSS")


def peak() -> int:
    """Return the peak since `reset_peak`."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else status_bytes("VmHWM")


def status_bytes(field: str) -> int:
    """Return a field of this process's status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"/proc/self/status: no {field}; this benchmark needs Linux")


# All measurements, and what they show


def measure_all(options: argparse.Namespace, vocab: int | None, seq: int) -> dict[str, Any]:
    """Run every variant in every round, one after the other; one that fails is named and left out."""
    found: dict[str, list[dict[str, Any]]] = {variant: [] for variant in options.variants}
    failed: dict[str, str] = {}
    batch = max(1, options.tokens // seq) if options.tokens else options.batch
    size = ["--seq", str(seq), "--batch", str(batch), *(["--vocab", str(vocab)] if vocab else [])]
    print(f"vocabulary {vocab or 'as it is'}, {batch} x {seq} tokens a step", flush=True)
    for number in range(options.rounds):
        for variant in [variant for variant in options.variants if variant not in failed]:
            load = os.getloadavg()[0]
            command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:], *size, "--variant", variant]
            threads = {"OMP_NUM_THREADS": str(options.threads)}
            done = subprocess.run(command, capture_output=True, text=True, env=os.environ | threads)
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"ended with {done.returncode}"]
                failed[variant] = lines[-1]
                del found[variant]
                print(f"round {number + 1}, {variant}: failed: {lines[-1]}", flush=True)
                continue
            result = json.loads(done.stdout.splitlines()[-1])
            found[variant].append({**result, "load_before": round(load, 2)})
            step = statistics.median(result["seconds"])
            print(
                f"round {number + 1}, {variant}: {step:.2f} s a step, "
                f"{result['peak_bytes'] / 1e9:.2f} GB above the weights, load before {load:.1f}",
                flush=True,
            )
    summary = summarise(found, options, batch * seq)
    return {
        "vocab": vocab,
        "batch": batch,
        "seq": seq,
        "variants": found,
        "failed": failed,
        "summary": summary,
    }


def summarise(found: dict[str, list[dict[str, Any]]], options: argparse.Namespace, tokens: int) -> dict[str, Any]:
    """Return medians over the rounds of each round's median, and the ratios that the design sets bars for."""
    medians = {
        variant: {
            "seconds_per_step": statistics.median(statistics.median(run["seconds"]) for run in runs),
            "peak_bytes": statistics.median(run["peak_bytes"] for run in runs),
            "matrix_flops": runs[0]["matrix_flops"],
            "profile": runs[-1]["profile"],
        }
        for variant, runs in found.items()
    }
    for row in medians.values():
        row["tokens_per_second"] = tokens / row["seconds_per_step"]
    ratios = [
        {
            "variant": variant,
            "against": other,
            "time": medians[variant]["seconds_per_step"] / medians[other]["seconds_per_step"],
            "time_bar": time_bar,
            "memory": medians[variant]["peak_bytes"] / medians[other]["peak_bytes"],
            "memory_bar": memory_bar,
        }
        for variant, other, time_bar, memory_bar in BARS
        if variant in medians and other in medians
    ]
    rate = matrix_rate(options, tokens)
    for row in medians.values():
        row["share_of_matrix_rate"] = row["matrix_flops"] / row["seconds_per_step"] / rate
    summary: dict[str, Any] = {"medians": medians, "ratios": ratios, "matrix_flops_per_second": rate}
    if "fine-tuning" in medians:
        epoch = medians["fine-tuning"]["seconds_per_step"] * (options.warmup + options.steps)
        summary["stores_against_an_epoch_of_fine_tuning"] = {
            variant: statistics.median(sum(run["store_seconds"].values()) for run in runs) / epoch
            for variant, runs in found.items()
            if variant in STORED
        }
    return summary


def table(result: dict[str, Any]) -> str:
    """Return the summary as Markdown."""
    summary = result["summary"]
    lines = [
        f"Vocabulary {result['vocab'] or 'as it is'}, {result['batch']} x {result['seq']} tokens a step:",
        "",
    ]
    lines += [
        "| step | seconds | tokens/s | peak above the weights | matrix products | of the machine's rate |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for variant, row in summary["medians"].items():
        lines.append(
            f"| {variant} | {row['seconds_per_step']:.2f} | {row['tokens_per_second']:.0f} "
            f"| {row['peak_bytes'] / 1e9:.2f} GB "
            f"| {row['matrix_flops'] / 1e9:.0f} GFLOP | {row['share_of_matrix_rate']:.0%} |"
        )
    lines += [f"| {variant} | failed: {why} | | | | |" for variant, why in result["failed"].items()]
    lines += ["", "| against | time | bar | memory | bar |", "|---|---:|---:|---:|---:|"]
    for ratio in summary["ratios"]:
        bars = ["" if ratio[key] is None else f"{ratio[key]:.2f}" for key in ("time_bar", "memory_bar")]
        lines.append(
            f"| {ratio['variant']} / {ratio['against']} | {ratio['time']:.2f} | {bars[0]} "
            f"| {ratio['memory']:.2f} | {bars[1]} |"
        )
    for variant, share in summary.get("stores_against_an_epoch_of_fine_tuning", {}).items():
        lines.append(f"| building both `{variant}` stores / an epoch of fine-tuning | {share:.2f} | 1.00 | | |")
    for variant, row in summary["medians"].items():
        total = sum(row["profile"].values())
        lines += ["", f"| {variant}: part of a step | seconds | share |", "|---|---:|---:|"] if total else []
        lines += [f"| {part} | {took:.2f} | {took / total:.0%} |" for part, took in row["profile"].items()]
    return "\n".join(lines)


def machine() -> dict[str, Any]:
    """Name the machine and the versions."""
    from muscle.provenance import versions

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "versions": versions(),
    }


def main() -> None:
    """Parse, measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--old", type=Path, required=True, help="folder of the old base")
    parser.add_argument("--new", type=Path, required=True, help="folder of the new base")
    parser.add_argument("--batch", type=int, default=8, help="examples a step")
    parser.add_argument("--seq", type=int, nargs="+", default=[128], help="tokens an example; several: a sweep")
    parser.add_argument("--tokens", type=int, help="tokens a step, in place of --batch: examples of --seq tokens")
    parser.add_argument("--rank", type=int, default=128, help="of the LoRA adapters; alpha is twice that")
    parser.add_argument(
        "--vocab",
        type=int,
        nargs="+",
        help="make both vocabularies this large, with random rows; several: a sweep",
    )
    parser.add_argument("--memory", type=int, help="gigabytes that a process may hold; a variant that needs more fails")
    parser.add_argument("--precision", choices=("bf16", "float32"), default="bf16")
    parser.add_argument("--checkpointing", action="store_true", help="training.gradient_checkpointing")
    parser.add_argument("--warmup", type=int, default=1, help="steps that are not counted")
    parser.add_argument("--steps", type=int, default=3, help="steps that are")
    parser.add_argument("--profile", action="store_true", help="profile one more step, and tell where its time goes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "engine.json")
    parser.add_argument("--variant", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.variant:
        options.seq, options.vocab = options.seq[0], options.vocab[0] if options.vocab else None
        print(json.dumps(measure(options)))
        return
    sizes = [(vocab, seq) for vocab in options.vocab or [None] for seq in options.seq]
    result: dict[str, Any] = {
        "settings": {name: value.name if isinstance(value, Path) else value for name, value in vars(options).items()},
        "machine": machine(),
        "sizes": [measure_all(options, vocab, seq) for vocab, seq in sizes],
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n")
    for found in result["sizes"]:
        print(table(found), end="\n\n")


if __name__ == "__main__":
    main()
