"""Which group each command stands in, and the examples below its help."""

from __future__ import annotations

from dataclasses import dataclass, field

from muscle.commands.help.grouped import MORE

COMPARE = "See what an update breaks"
PLAN = "Plan an evaluation, and be sure"
TRAIN = "Train an adapter that keeps what was right"
SERVE = "Keep old answers, and serve two models"
FILES = "Files and reports"


@dataclass(frozen=True)
class HelpText:
    """What a command's help has beside its docstring.

    Attributes:
        group: of commands.
        examples: each a comment and the lines that it is of.
        page: of the documentation.
    """

    group: str = MORE
    examples: tuple[tuple[str, str], ...] = field(default=())
    page: str = ""

    @property
    def epilog(self) -> str | None:
        """The text below the options; None without one."""
        lines = ["\b", "Examples:"] if self.examples else []
        for comment, command in self.examples:
            lines += [f"  # {comment}", *(f"  {line}" for line in command.splitlines())]
        more = f"\b\nMore: {self.page}" if self.page else ""
        return "\n\n".join(part for part in ("\n".join(lines), more) if part) or None


TEXTS = {
    "compare": HelpText(
        COMPARE,
        (
            ("two sample files that come with the package", "muscle compare --example"),
            (
                "your own: columns such as question, expected, prediction",
                "muscle compare old.csv new.csv --html report.html",
            ),
            ("with the old model's own noise", "muscle compare old.jsonl new.jsonl --rerun old-again.jsonl"),
            (
                "judge a compatibility adapter (the candidate) instead of NEW",
                "muscle compare old.jsonl new.jsonl --candidate compat.jsonl",
            ),
        ),
        "docs/compare.md, docs/your-own-file.md",
    ),
    "gate": HelpText(
        COMPARE,
        (
            ("the default policy; exit code 0 pass, 1 block, 2 cannot tell", "muscle gate old.jsonl new.jsonl"),
            (
                "your own rules, a comment for the pull request",
                "muscle gate old.jsonl new.jsonl --policy policy.yaml --markdown gate.md",
            ),
            (
                "against a kept baseline",
                "muscle baseline save old.jsonl --name main\nmuscle gate new.jsonl --baseline main",
            ),
        ),
        "docs/gate.md",
    ),
    "history": HelpText(
        COMPARE,
        (("every answer through three versions", "muscle history v1.jsonl v2.jsonl v3.jsonl"),),
        "docs/compare.md",
    ),
    "closeness": HelpText(
        COMPARE, (("a quantised model, next to the base against itself", "muscle closeness q4.txt --self base.txt"),)
    ),
    "plan": HelpText(
        PLAN,
        (
            ("without data: how many items find a change of one point", "muscle plan --difference 0.01"),
            ("from a pilot of both versions", "muscle plan pilot-old.jsonl pilot-new.jsonl --limit 0.01"),
        ),
        "docs/noise.md",
    ),
    "confirm": HelpText(
        PLAN,
        (
            ("which items to ask again", "muscle confirm old.jsonl new.jsonl --items again.jsonl"),
            (
                "judge their fresh answers",
                "muscle confirm old.jsonl new.jsonl --items again.jsonl \\\n"
                "    --fresh-old again-old.jsonl --fresh-new again-new.jsonl",
            ),
        ),
        "docs/noise.md",
    ),
    "watch": HelpText(
        PLAN,
        (
            ("a random order to ask in", "muscle watch old.jsonl --order ask.jsonl --seed 0"),
            (
                "look while answers come in, and stop when something is proven",
                "muscle watch old.jsonl new.jsonl --seed 0 --follow",
            ),
        ),
        "docs/noise.md",
    ),
    "demo": HelpText(
        TRAIN,
        (("a whole update of two tiny models, about three minutes", "muscle demo --out muscle-demo"),),
        "docs/demo.md",
    ),
    "init": HelpText(
        TRAIN,
        (
            ("a commented update.yaml to edit", "muscle init update.yaml"),
            ("a task's YAML, proposed from your own rows", "muscle init --task rows.csv --out task.yaml"),
        ),
        "docs/update.md, docs/tasks.md",
    ),
    "update": HelpText(
        TRAIN,
        (
            ("show the stages, and whether each fits the GPU", "muscle update update.yaml --dry-run --gpu l4"),
            ("run them, or only what changed", "muscle update update.yaml"),
            ("with another setting", "muscle update update.yaml --set training.epochs=3"),
        ),
        "docs/update.md",
    ),
    "sweep": HelpText(
        TRAIN,
        (
            ("find the method that suits this update", "muscle sweep update.yaml --preset methods --seeds 0,1,2"),
            ("vary one setting", "muscle sweep update.yaml --vary alignment.mask=old_right,old_always"),
        ),
        "docs/sweep.md",
    ),
    "finetune": HelpText(
        TRAIN,
        (("a task adapter on one base", "muscle finetune --base BASE --task task.yaml --out adapters/new"),),
        "docs/update.md",
    ),
    "align": HelpText(
        TRAIN,
        (
            (
                "the compatibility adapter from two task adapters",
                "muscle align --old BASE1+adapters/old --new BASE2+adapters/new \\\n"
                "    --task task.yaml --out adapters/compat",
            ),
        ),
        "docs/update.md",
    ),
    "evaluate": HelpText(
        TRAIN,
        (
            (
                "score an adapter, for muscle compare",
                "muscle evaluate --model BASE2+adapters/compat --task task.yaml \\\n    --out predictions/compat",
            ),
        ),
        "docs/tasks.md",
    ),
    "record": HelpText(
        SERVE,
        (
            (
                "a hosted model; the key is read from OPENAI_API_KEY",
                "muscle record --endpoint openai --model ft:NAME --task task.yaml \\\n"
                "    --data train.jsonl --data test.jsonl --top-logprobs 20 \\\n"
                "    --out old.jsonl --max-cost 20 --price-in 3 --price-out 12",
            ),
            (
                "your own server: the likelihood of every option",
                "muscle record --endpoint http://localhost:8000/v1 --model NAME \\\n"
                "    --ask options --task task.yaml --data train.jsonl --out old.jsonl",
            ),
            (
                "a base with its adapter, on this machine",
                "muscle record --model BASE+ADAPTER --task task.yaml --data test.jsonl",
            ),
            ("what a record, or any file of results, is good for", "muscle record --check old.jsonl"),
        ),
        "docs/record.md",
    ),
    "route": HelpText(
        SERVE,
        (
            (
                "fit and measure a rule, then write its answers",
                "muscle route fit recorded.jsonl new.jsonl --old-price 0\n"
                "muscle route apply rule.yaml recorded.jsonl new.jsonl --out served.jsonl",
            ),
        ),
        "docs/route.md",
    ),
    "route fit": HelpText(
        SERVE,
        (
            (
                "recorded answers and a new API model that says how sure it is",
                "muscle route fit recorded.jsonl new.jsonl --old-price 0 --slice topic",
            ),
            (
                "two models with likelihoods; the old one is asked about a quarter",
                "muscle route fit old.jsonl new.jsonl --ask-share 0.25 --html route.html",
            ),
        ),
        "docs/route.md",
    ),
    "route check": HelpText(
        SERVE,
        (("on answers of another month", "muscle route check rule.yaml old-may.jsonl new-may.jsonl"),),
        "docs/route.md",
    ),
    "route apply": HelpText(
        SERVE,
        (
            (
                "answers that muscle compare reads",
                "muscle route apply rule.yaml recorded.jsonl new.jsonl --out served.jsonl",
            ),
        ),
        "docs/route.md",
    ),
    "route label": HelpText(
        SERVE,
        (
            ("a first list, in random order", "muscle route label recorded.jsonl new.jsonl --num 300 --out first.csv"),
            (
                "the next one, by the expected gain of each label",
                "muscle route label recorded.jsonl new.jsonl --labels first.csv \\\n"
                "    --rule rule.yaml --out next.csv",
            ),
        ),
        "docs/route.md",
    ),
    "baseline": HelpText(
        COMPARE,
        (
            (
                "keep the accepted version, and compare the next one with it",
                "muscle baseline save results/main --name main\nmuscle gate results/new --baseline main",
            ),
        ),
        "docs/ci.md",
    ),
    "baseline save": HelpText(
        COMPARE,
        (("the version that is accepted", "muscle baseline save results/main --name main"),),
        "docs/ci.md",
    ),
    "baseline list": HelpText(COMPARE, (("what is kept", "muscle baseline list"),), "docs/ci.md"),
    "export": HelpText(
        TRAIN,
        (("a whole model, and the lines that serve it", "muscle export RUN/adapters/compat/TASK --out ship --merged"),),
        "docs/ship.md",
    ),
    "doctor": HelpText(
        FILES, (("what is here, and what is missing", "muscle doctor"), ("for training", "muscle doctor update"))
    ),
    "collect": HelpText(
        FILES, (("several updates in one table", "muscle collect runs/a runs/b --html table.html"),), "docs/collect.md"
    ),
    "convert": HelpText(
        FILES,
        (
            ("any run as our records", "muscle convert lm_eval_output/model --out records.parquet"),
            ("as Every Eval Ever", "muscle convert run.jsonl --to eee --out eee"),
        ),
        "docs/formats.md",
    ),
    "report": HelpText(
        FILES,
        (
            ("render it again", "muscle report muscle-demo"),
            ("without inputs and answers, to pass on", "muscle report muscle-demo --no-texts --html report.html"),
        ),
        "docs/compare.md",
    ),
}
"""By the command's name, a subcommand's with its group's before it; one that isn't here stands under `MORE`."""


def help_of(name: str) -> HelpText:
    """Return what a command's help has beside its docstring."""
    return TEXTS.get(name, HelpText())
