"""What the teachers said of the data reaches the right tokens of any batch, and what they have not read is noticed."""

import pytest
import torch

from muscle import IGNORE_INDEX, compatibility_loss
from muscle.config.settings import BaseConfig, LoraSettings, TrainingSettings
from muscle.errors import ConfigError, DataError, ModelError
from muscle.integrations.sequences import KnownSequences
from muscle.integrations.settings import Teaching, teaching, teaching_from_file
from muscle.integrations.taught import teach
from muscle.models.adapters import load_adapter, new_adapter, save_adapter
from muscle.models.bases import load_base
from muscle.models.head_states import head_states
from tiny.bases import save_base

SEQUENCES = [[3, 4, 6, 7, 8], [5, 9, 10], [3, 5, 7, 9, 11, 13, 15], [8, 8, 4, 2]]
BATCH = [2, 0, 3]
"""Which of them stand in a batch."""


class Models:
    def __init__(self, root):
        self.root = root
        self.bases = {}
        for name, seed in (("old", 1), ("new", 2)):
            base = load_base(BaseConfig(base=str(save_base(root / name, seed=seed))), precision="float32", device="cpu")
            torch.manual_seed(seed)
            adapter = new_adapter(base, LoraSettings(r=4, alpha=8))
            for parameter in adapter.parameters():
                if parameter.requires_grad:
                    torch.nn.init.normal_(parameter, std=0.2)
            note = {"settings": TrainingSettings().model_dump()}
            save_adapter(adapter, root / f"adapter-{name}", base=base, note=note)
            self.bases[name] = base
        self.student = load_adapter(self.bases["new"], root / "adapter-new", trainable=True).eval()
        # Away from the new teacher, or half of Eq. 1 would be zero.
        torch.nn.init.normal_(next(each for each in self.student.parameters() if each.requires_grad), std=0.3)

    def settings(self, store, **changes):
        named = {name: f"{self.root / name}+{self.root / f'adapter-{name}'}" for name in ("old", "new")}
        return Teaching(**{**named, "store": str(store), "precision": "float32", **changes})

    def teacher_logits(self, name, ids):
        model = load_adapter(self.bases[name], self.root / f"adapter-{name}")
        with torch.no_grad():
            return model(input_ids=torch.tensor([ids])).logits[0]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return Models(tmp_path_factory.mktemp("models"))


def padded(side, *, prompt=0):
    """Make a batch as a library's collator does: labels are the tokens, the prompt's and the padding's left out."""
    rows = [SEQUENCES[number] for number in BATCH]
    longest = max(map(len, rows)) + 1
    columns = {
        name: torch.full((len(rows), longest), fill) for name, fill in (("input_ids", 0), ("labels", IGNORE_INDEX))
    }
    columns["attention_mask"] = torch.zeros(len(rows), longest, dtype=torch.long)
    for row, ids in enumerate(rows):
        place = slice(0, len(ids)) if side == "right" else slice(longest - len(ids), longest)
        columns["input_ids"][row, place] = torch.tensor(ids)
        columns["labels"][row, place] = torch.tensor([IGNORE_INDEX] * prompt + ids[prompt:])
        columns["attention_mask"][row, place] = 1
    if side == "left":
        columns["position_ids"] = (columns["attention_mask"].cumsum(-1) - 1).clamp(min=0)
    return columns


def packed():
    rows = [SEQUENCES[number] for number in BATCH]
    ids = torch.tensor([[each for row in rows for each in row]])
    positions = torch.tensor([[place for row in rows for place in range(len(row))]])
    return {"input_ids": ids, "labels": ids.clone(), "position_ids": positions}


def plain_loss(models, *, prompt=0, **formula):
    """Eq. 1 and 5 on whole logits, one sequence at a time."""
    total, count = 0.0, 0
    for ids in (SEQUENCES[number] for number in BATCH):
        labels = torch.tensor(ids[1:])
        labels[: max(0, prompt - 1)] = IGNORE_INDEX
        with torch.no_grad():
            student = models.student(input_ids=torch.tensor([ids])).logits[0]
        old, new = (models.teacher_logits(name, ids) for name in ("old", "new"))
        number = int((labels != IGNORE_INDEX).sum())
        total += float(compatibility_loss(student[:-1], old[:-1], new[:-1], labels, **formula)) * number
        count += number
    return total, count


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return tmp_path_factory.mktemp("stores")


@pytest.mark.parametrize(
    "make", [lambda: padded("right"), lambda: padded("left"), packed], ids=["right", "left", "packed"]
)
@pytest.mark.parametrize("formula", [{}, {"mask": "sequence_likelihood", "temperature": 1.0, "ce_weight": 0.3}])
def test_the_loss_is_that_of_the_plain_formula_however_a_batch_is_made(models, stores, make, formula):
    taught = teach(models.settings(stores, **formula), models.student, KnownSequences(SEQUENCES))
    batch = make()
    given = {name: value for name, value in batch.items() if name != "labels"}
    sums = taught.sums(head_states(models.student, {**given, "use_cache": False}), batch)
    total, count = plain_loss(models, **formula)
    assert sums.num_tokens == count == 13
    assert sums.loss.item() == pytest.approx(total, rel=1e-4)
    sums.loss.backward()
    assert any(p.grad is not None and bool(p.grad.abs().sum()) for p in models.student.parameters())


def test_only_the_tokens_that_count_in_the_librarys_own_loss_count_here(models, stores):
    taught = teach(models.settings(stores), models.student, KnownSequences(SEQUENCES))
    batch = padded("right", prompt=3)
    sums = taught.sums(head_states(models.student, {"input_ids": batch["input_ids"]}), batch)
    total, count = plain_loss(models, prompt=3)
    assert sums.num_tokens == count == 7
    assert sums.loss.item() == pytest.approx(total, rel=1e-4)


def test_a_batch_in_which_nothing_counts_has_a_loss_of_zero(models, stores):
    taught = teach(models.settings(stores), models.student, KnownSequences(SEQUENCES))
    batch = padded("right", prompt=3)
    batch["labels"].fill_(IGNORE_INDEX)
    sums = taught.sums(head_states(models.student, {"input_ids": batch["input_ids"]}), batch)
    assert (sums.loss.item(), sums.num_tokens) == (0.0, 0)


def test_a_sequence_that_the_teachers_have_not_read_is_refused(models, stores):
    taught = teach(models.settings(stores), models.student, KnownSequences(SEQUENCES))
    batch = packed()
    del batch["position_ids"]  # now one long sequence
    with pytest.raises(DataError, match=r"a batch holds a sequence of 16 tokens that the data did not have.*packing"):
        taught.sums(torch.zeros(1, 16, 32), batch)


def test_labels_that_are_not_the_tokens_are_refused(models, stores):
    taught = teach(models.settings(stores), models.student, KnownSequences(SEQUENCES))
    batch = packed()
    batch["labels"][0, 2] = 1
    with pytest.raises(DataError, match="expected the input's own tokens, or -100"):
        taught.sums(torch.zeros(1, 16, 32), batch)


def test_a_second_training_finds_what_the_teachers_left(models, stores, tmp_path, monkeypatch):
    teach(models.settings(tmp_path), models.student, KnownSequences(SEQUENCES))
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")}
    assert len(files) == 2
    teach(models.settings(tmp_path), models.student, KnownSequences(SEQUENCES))
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.safetensors")} == files


def test_a_teacher_that_was_tuned_whole_needs_no_adapter(models, tmp_path):
    settings = models.settings(tmp_path, old=str(models.root / "old"))
    taught = teach(settings, models.student, KnownSequences(SEQUENCES))
    with torch.no_grad():
        logits = models.bases["old"].model(input_ids=torch.tensor([SEQUENCES[1]])).logits[0]
    expected = logits.log_softmax(-1)[:-1].gather(-1, torch.tensor(SEQUENCES[1][1:]).unsqueeze(1)).squeeze(1)
    assert torch.allclose(taught.old.rows([1]).log_p, expected, atol=1e-5)


def test_a_teacher_of_another_vocabulary_is_refused(models, tmp_path):
    other = save_base(tmp_path / "other", seed=3, extra_words=2)
    settings = models.settings(tmp_path / "teachers", old=str(other))
    with pytest.raises(ModelError, match="have different vocabularies"):
        teach(settings, models.student, KnownSequences(SEQUENCES))


def test_no_data_is_refused(models, tmp_path):
    with pytest.raises(DataError, match="at least one sequence of two tokens"):
        teach(models.settings(tmp_path), models.student, KnownSequences([[1]]))


def test_an_unknown_key_is_refused_with_what_was_meant():
    with pytest.raises(ConfigError, match=r"^section: temprature: unknown key; did you mean 'temperature'\?$"):
        teaching({"old": "a", "new": "b", "temprature": 1.0}, source="section")


def test_a_file_is_named_by_a_variable(tmp_path, monkeypatch):
    monkeypatch.delenv("MUSCLE_CONFIG", raising=False)
    with pytest.raises(ConfigError, match=r"^MUSCLE_CONFIG: expected the path of a YAML file"):
        teaching_from_file()
    (tmp_path / "muscle.yaml").write_text("old: a+b\nnew: c+d\nmask: old_wrong\n")
    monkeypatch.setenv("MUSCLE_CONFIG", str(tmp_path / "muscle.yaml"))
    with pytest.raises(ConfigError, match=r"muscle.yaml, line 3: mask: expected 'student_wrong'"):
        teaching_from_file()
    (tmp_path / "muscle.yaml").write_text("old: a+b\nnew: c+d\nmask: old_right\n")
    assert teaching_from_file().mask == "old_right"
