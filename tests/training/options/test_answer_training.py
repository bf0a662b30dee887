"""Trainings on candidate answers: the trainer's loss is the formula on the model's own probabilities of whole texts."""

import copy
import dataclasses

import pytest
import torch

from muscle.config.alignment import AlignmentSettings
from muscle.config.methods import AnswerSettings
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import ConfigError, DataError
from muscle.files import read_json
from muscle.models.adapters import load_adapter
from muscle.models.bases import load_base
from muscle.tasks import get_task, load_examples
from muscle.tasks.candidates import Candidate, with_candidates
from muscle.tasks.prompt import Prompt
from muscle.training.align import align
from muscle.training.arguments import training_arguments
from muscle.training.finetune import finetune
from muscle.training.options.data import OptionData
from muscle.training.options.items import ItemCollator
from muscle.training.options.lessons import label_lesson
from muscle.training.options.losses import TargetRows
from muscle.training.options.targets import labels
from muscle.training.options.trainer import OptionLoss, OptionTrainer
from tiny.bases import CHAT_TEMPLATES, GENERATION_YAML, TASK_YAML, save_base, write_choice_rows

LORA = LoraSettings(r=4, alpha=8)
SETTINGS = TrainingSettings(
    epochs=1, learning_rate=5e-3, warmup_steps=0, batch_size=8, gradient_accumulation=1, precision="float32"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("answers")
    (root / "tools.yaml").write_text(GENERATION_YAML)
    task = get_task(root / "tools.yaml")
    plain = load_examples(task, write_choice_rows(root / "rows.jsonl", 24))
    bases = {}
    for name, seed in (("old", 1), ("new", 2)):
        base = load_base(BaseConfig(base=str(save_base(root / name, seed=seed))), precision="float32", device="cpu")
        finetune(
            base,
            task,
            train_examples=plain,
            validation_examples=plain,
            lora=LORA,
            settings=SETTINGS,
            out=root / f"adapter-{name}",
        )
        bases[name] = base
    return root, task, bases, [candidates(example, number) for number, example in enumerate(plain)]


def candidates(example, number: int):
    """An example with its reference, another right wording for every third, and wrong ones that begin alike."""
    right = example.target.strip()
    found = [Candidate(right, 0, ("reference",)), Candidate("w3 w4 w5", 1, ()), Candidate("w3 w4 w6 w7", 2, ())]
    return with_candidates(example, [*found, Candidate(f"{right} w8", 0, ())] if number % 3 == 0 else found)


def log_probability(model, tokenizer, example, answer: str) -> float:
    """Of the answer and the end behind the context, from the model's plain logits."""
    context = tokenizer(example.context)["input_ids"]
    ids = [*tokenizer(f"{example.context} {answer}")["input_ids"], tokenizer.eos_token_id]
    log_p = model(input_ids=torch.tensor([ids])).logits.double().log_softmax(-1)[0]
    return sum(log_p[place - 1, ids[place]].item() for place in range(len(context), len(ids)))


def trainer_of(world, tmp_path, answers: AnswerSettings, rows: TargetRows | None = None):
    root, task, bases, examples = world
    data = OptionData(task, examples[:16], examples[16:], answers=answers)
    student = load_adapter(bases["new"], root / "adapter-new", trainable=True)
    items = data.items(bases["new"].tokenizer, 64)
    trainer = OptionTrainer(
        model=student,
        targets=rows or label_lesson(data).target,
        loss=OptionLoss(),
        pad_token_id=0,
        args=training_arguments(SETTINGS, tmp_path),
        train_dataset=items[0],
        eval_dataset=items[1],
        data_collator=ItemCollator(),
    )
    return trainer, student, items


def test_labels_alone_are_minus_the_log_of_all_right_wordings_probability(world, tmp_path):
    trainer, student, items = trainer_of(world, tmp_path, AnswerSettings())
    chosen = [0, 1, 3, 5]  # with another right wording and without
    found = trainer.compute_loss(student, dict(ItemCollator()([items[0][place] for place in chosen])))
    expected, tokenizer = 0.0, world[2]["new"].tokenizer
    for place in chosen:
        example = world[3][place]
        right = [text for text, answer in zip(example.choices, example.answers, strict=True) if answer == 0]
        shares = [log_probability(student, tokenizer, example, text) for text in right]
        expected -= torch.tensor(shares, dtype=torch.float64).logsumexp(0).item() / len(chosen)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_per_token_the_loss_is_over_mean_log_likelihoods(world, tmp_path):
    trainer, student, items = trainer_of(world, tmp_path, AnswerSettings(normalise="tokens"))
    found = trainer.compute_loss(student, dict(ItemCollator()([items[0][1]])))
    example, tokenizer = world[3][1], world[2]["new"].tokenizer
    lengths = [len(text.split()) + 1 for text in example.choices]
    mean = sum(lengths) / len(lengths)
    scores = [
        log_probability(student, tokenizer, example, text) * mean / length
        for text, length in zip(example.choices, lengths, strict=True)
    ]
    expected = -torch.tensor(scores, dtype=torch.float64).log_softmax(0)[0].item()
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_other_wordings_or_no_rest_are_another_training(world):
    data = {}
    apart = [dataclasses.replace(each, answers=tuple(range(len(each.choices)))) for each in world[3]]
    for name, (answers, examples) in {
        "plain": (AnswerSettings(), world[3]),
        "closed": (AnswerSettings(rest=False), world[3]),
        "apart": (AnswerSettings(), apart),
    }.items():
        items = OptionData(world[1], examples[:16], examples[16:], answers=answers)
        data[name] = items.items(world[2]["new"].tokenizer, 64)[0].sequences
    assert data["plain"] != data["closed"] != data["apart"] != data["plain"]


def test_the_student_that_is_its_own_teacher_agrees_with_its_target(world, tmp_path):
    root, task, bases, examples = world
    own = (bases["new"], root / "adapter-new")
    align(
        *own,
        *own,
        task,
        train_examples=examples[:16],
        validation_examples=examples[16:],
        alignment=AlignmentSettings(method="answers", labels_first=False),
        settings=SETTINGS.model_copy(update={"learning_rate": 1e-9}),
        out=tmp_path / "c",
    )
    written = read_json(tmp_path / "c" / "training.json")
    assert written["temperatures"] == {"old": 1.0, "new": 1.0}
    assert written["validation"]["agreement"] == [1.0]
    assert written["mean_candidates"] == pytest.approx(3 + 8 / 24)
    probability = written["mean_candidates_probability"]
    assert 0 < probability["old"] == probability["new"] < 1


def test_in_a_chat_template_answers_end_as_the_template_ends_them(world):
    _, task, bases, examples = world
    tokenizer = copy.deepcopy(bases["new"].tokenizer)
    tokenizer.chat_template = CHAT_TEMPLATES["chatml"]
    chat = task.prompted(Prompt(chat_template=True))
    data = OptionData(chat, examples[:16], examples[16:], answers=AnswerSettings())
    (rendered, *_), end_of_text = data.rendered(examples[:1], tokenizer)
    assert not end_of_text
    assert [choice.removesuffix("<|im_end|>") for choice in rendered.choices] == list(examples[0].choices)
    assert all(choice.endswith("<|im_end|>") for choice in rendered.choices)
    plain = OptionData(task, examples[:16], examples[16:], answers=AnswerSettings())
    assert plain.rendered(examples[:1], tokenizer) == (tuple(examples[:1]), True)


def test_the_unit_needs_its_kind_of_task_and_examples_with_candidates(world, tmp_path):
    root, task, bases, examples = world
    (root / "choice.yaml").write_text(TASK_YAML)
    with pytest.raises(ConfigError, match=r"alignment\.unit: answers needs a task whose answers are generated"):
        OptionData(get_task(root / "choice.yaml"), examples, examples, answers=AnswerSettings())
    bare = dataclasses.replace(examples[0], choices=(), answers=())
    data = OptionData(task, [bare], examples, answers=AnswerSettings())
    with pytest.raises(DataError, match=r"example row-0: expected answer options, found none"):
        data.items(bases["new"].tokenizer, 64)


def test_the_rest_is_no_answer(world):
    _, task, _, examples = world
    data = OptionData(task, examples[:16], examples[16:], answers=AnswerSettings())
    scores = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log().expand(24, 4)
    assert data.without_rest(scores).argmax(-1).tolist() == [2] * 24
    closed = OptionData(task, examples[:16], examples[16:], answers=AnswerSettings(rest=False))
    assert closed.without_rest(scores) is scores


def test_the_label_of_the_rest_is_never_asked_for(world):
    _, task, _, examples = world
    data = OptionData(task, examples[:16], examples[16:], answers=AnswerSettings())
    assert data.width == 4
    torch.testing.assert_close(label_lesson(data).target.log_target, labels(torch.zeros(24, dtype=torch.long), 4))
