"""Make two small models and have lm-evaluation-harness score both; its command line writes the files.

    python make_lm_eval.py models WORK        # any environment with torch and transformers
    python make_lm_eval.py run WORK 0.4.13    # in an environment with that release, then again with 0.4.2

Old and new are character-level Llamas with 0.2 million weights, trained for a minute on sums and on what each tool is
for. The new one has seen more, and half of its sums come in another phrase, which one of the two filters does not
take. Everything is made up here; nothing is downloaded.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ALPHABET = "0123456789+= .:?abcdefghijklmnopqrstuvwxyzTAQ\n"
TOOLS = {
    "cut the bread": "knife",
    "stir the soup": "spoon",
    "pour the soup": "ladle",
    "sweep the floor": "broom",
    "sew the shirt": "needle",
    "drive the nail": "hammer",
    "dig the hole": "spade",
    "weigh the flour": "scales",
}
FILLERS = ("before noon", "in the kitchen", "without a sound")
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
{body}metadata:
  version: 1.0
"""
CHOICE = """\
output_type: multiple_choice
doc_to_text: "{{q}}"
doc_to_target: label
doc_to_choice: options
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
  - metric: acc_norm
    aggregation: mean
    higher_is_better: true
"""
GENERATION = """\
output_type: generate_until
doc_to_text: "Q: {{q}}\\nA:"
doc_to_target: answer
generation_kwargs:
  until: ["\\n"]
  do_sample: false
  max_gen_toks: 24
filter_list:
  - name: strict
    filter:
      - function: regex
        regex_pattern: 'The sum is (\\d+)\\.'
      - function: take_first
  - name: flexible
    filter:
      - function: regex
        regex_pattern: '(\\d+)'
      - function: take_first
metric_list:
  - metric: exact_match
    aggregation: mean
    higher_is_better: true
"""
EXACT_MATCH = '''\
"""The harness of release 0.4.2 asks `evaluate` for this metric, which would fetch it; its rule in ten lines."""
import datasets
import evaluate


class ExactMatch(evaluate.Metric):
    def _info(self):
        features = datasets.Features({name: datasets.Value("string") for name in ("predictions", "references")})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references, **kwargs):
        return {"exact_match": sum(p == r for p, r in zip(predictions, references)) / len(predictions)}
'''


def choice_rows() -> list[dict[str, object]]:
    """Return 24 items: what each tool is for, with three options."""
    names = list(TOOLS.values())
    rows = []
    for number in range(24):
        purpose = list(TOOLS)[number % 8]
        right = names.index(TOOLS[purpose])
        options = [names[(right + step) % 8] for step in (0, 1 + number // 8, 4)]
        place = number % 3
        options = options[-place:] + options[:-place] if place else options
        text = f"To {purpose} {FILLERS[number // 8]} take the"
        rows.append({"q": text, "options": options, "label": place, "topic": purpose.split()[-1]})
    return rows


def sum_rows() -> list[dict[str, str]]:
    """Return 20 sums of two numbers below ten."""
    pairs = [(first, (first * 7 + step) % 10) for step in (1, 4) for first in range(10)]
    return [{"q": f"{first}+{second}?", "answer": str(first + second)} for first, second in pairs]


def lessons(version: int, generator: random.Random) -> str:
    """Return one text to learn from."""
    if generator.random() < 0.05:
        purpose = generator.choice(list(TOOLS))
        return f"To {purpose} {generator.choice(FILLERS)} take the {TOOLS[purpose]}\n"
    first, second = generator.randrange(10), generator.randrange(10)
    phrase = "The sum is" if version == 1 or first % 2 else "That makes"
    return f"Q: {first}+{second}?\nA: {phrase} {first + second}.\n"


def make_model(folder: Path, version: int, steps: int) -> None:
    """Train a small Llama and save it with its tokenizer."""
    import torch
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {"<pad>": 0, "<eos>": 1} | {letter: place + 2 for place, letter in enumerate(ALPHABET)}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token="<pad>"))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", model_max_length=96,
        clean_up_tokenization_spaces=False,
    )  # fmt: skip
    torch.manual_seed(version)
    torch.set_num_threads(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(vocabulary), hidden_size=64, intermediate_size=192, num_hidden_layers=3,
            num_attention_heads=4, max_position_embeddings=96, pad_token_id=0, bos_token_id=1, eos_token_id=1,
        )
    )  # fmt: skip
    generator, optimizer = random.Random(version), torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        batch = tokenizer(
            [lessons(version, generator) for _ in range(32)],
            return_tensors="pt",
            padding=True,
            return_token_type_ids=False,
        )
        labels = batch["input_ids"].masked_fill(batch["input_ids"] == 0, -100)
        loss = model(**batch, labels=labels).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    # transformers 5 names a class here that the release 4 beside the older harness does not have.
    config = folder / "tokenizer_config.json"
    config.write_text(config.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast"))


def write_tasks(folder: Path) -> None:
    """Write the two tasks and their items."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, body, rows in (("tools", CHOICE, choice_rows()), ("sums", GENERATION, sum_rows())):
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, file=file, body=body))


def run(work: Path, release: str) -> None:
    """Score both models with the command line of the installed release; copy what it wrote beside this file."""
    environment = os.environ | {
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "HF_HOME": str(work / f"cache-{release}"),
    }
    metric = work / "exact_match" / "exact_match.py"
    metric.parent.mkdir(exist_ok=True)
    metric.write_text(EXACT_MATCH)
    for name in ("old", "new"):
        out = work / release / name
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "lm_eval", "--model", "hf", "--tasks", "tools,sums", "--log_samples"]
        command += [
            "--model_args",
            f"pretrained=models/{name},dtype=float32",
            "--include_path",
            str(work / "tasks"),
        ]
        command += ["--batch_size", "8", "--device", "cpu", "--output_path", str(out)]
        subprocess.run(command, check=True, cwd=work, env=environment)
        target = HERE / "lm_eval" / release / name
        shutil.rmtree(target, ignore_errors=True)
        files = [file for file in out.rglob("*") if file.is_file()]
        target.mkdir(parents=True)
        for file in files:
            text = file.read_text(encoding="utf-8").replace(str(work), "/work")
            (target / file.name).write_text(text, encoding="utf-8")


def main() -> None:
    """Do what the command line says."""
    step, work = sys.argv[1], Path(sys.argv[2]).resolve()
    if step == "models":
        write_tasks(work / "tasks")
        make_model(work / "models" / "old", version=1, steps=180)
        make_model(work / "models" / "new", version=2, steps=260)
    else:
        run(work, sys.argv[3])


if __name__ == "__main__":
    main()
