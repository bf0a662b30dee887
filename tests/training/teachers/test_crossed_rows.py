"""Rows of a teacher with another tokenizer, against probabilities by brute force."""

import dataclasses
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from muscle.training.crossing.positions import Aligned, CrossedTexts, cross_texts
from muscle.training.crossing.projection import project
from muscle.training.crossing.spelling import Spelling
from muscle.training.head.output_head import OutputHead, output_head
from muscle.training.losses.fused import fused_compatibility_terms
from muscle.training.teachers.cross_examples import Crossed
from muscle.training.teachers.crossed_rows import Crossing, crossed_row_maker
from muscle.training.teachers.make_rows import RowForm, row_maker
from muscle.training.teachers.rows import ProjectedRows
from tiny.tokenizer_kinds import TEXTS, save_base_with, trained_tokenizer

MASKS = ("student_wrong", "old_right", "old_always", "token_likelihood", "sequence_likelihood")
READ = [TEXTS[0], TEXTS[4], "a b 👩‍👩‍👧 201 naïve c"]
KINDS = ("chunks", "first", "pieces")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Tiny models of every head: plain, soft-capped, with experts; and their tokenizers."""
    root = tmp_path_factory.mktemp("models")
    made = {
        "small": ("llama", trained_tokenizer("byte-level", ["no merges"], vocab_size=270)),
        "large": ("qwen2", trained_tokenizer("byte-level")),
        "capped": ("gemma2", trained_tokenizer("byte-fallback", bos=True)),
        "experts": ("mixtral", trained_tokenizer("digits", bos=True)),
    }
    loaded = {}
    for seed, (name, (architecture, tokenizer)) in enumerate(made.items()):
        tokenizer.pad_token = tokenizer.eos_token
        spare = {} if name == "small" else {"spare": 0}
        folder = save_base_with(root / name, tokenizer, architecture=architecture, seed=seed, **spare)
        experts = {"experts_implementation": "eager"} if name == "experts" else {}  # torch's product knows no float64
        model = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float64, **experts).eval().requires_grad_(False)
        )
        loaded[name] = (model, tokenizer)
    return loaded


def crossed(models, old, new, *, texts=READ, kind="chunks", end=True):
    """Return a teacher's crossing into another model's tokens, and these."""
    (_, ours), (_, theirs) = models[old], models[new]
    tail = [theirs.eos_token_id] if end else []
    sequences = [[*ids, *tail] for ids in theirs(texts)["input_ids"]]
    spellings = Spelling.of(ours), Spelling.of(theirs)
    return Crossing(cross_texts(texts, sequences, *spellings, max_length=512), *spellings, kind), sequences


def rows_of(models, old, new, *, kind="chunks", temperature=1.0, topk=None, memory=2**27, texts=READ):
    crossing, sequences = crossed(models, old, new, kind=kind, texts=texts)
    model, student = models[old][0], output_head(models[new][0])
    make = crossed_row_maker(
        model,
        output_head(model),
        crossing,
        sequences,
        RowForm(temperature, dataclasses.replace(student, softcap=None), topk, memory),
    )
    return make(range(len(texts))), crossing, sequences


@torch.no_grad()
def next_token(model, ids, temperature):
    return (model(input_ids=torch.tensor([ids])).logits[0, -1] / temperature).softmax(-1)


def brute_force(models, old, new, text_ids, aligned, token, label, *, temperature, kind="chunks"):
    """Return q by hand: the projection as a plain loop, and the chunk by running the old model token by token."""
    model, spelling = models[old][0], Spelling.of(models[old][1])
    projection = project(spelling, Spelling.of(models[new][1]), kind=kind)
    place, last = int(aligned.place[token]), int(aligned.last[token])
    p = next_token(model, text_ids[: place + 1], temperature)
    q = torch.zeros(models[new][0].get_output_embeddings().weight.shape[0], dtype=torch.float64)
    for row, column, weight in zip(projection.rows, projection.columns, projection.weights, strict=True):
        q[column] += weight * p[row]
    if kind == "chunks" and last >= place + 2:
        moved = torch.tensor(1.0, dtype=torch.float64)
        for end in range(place + 1, last + 1):
            p = next_token(model, text_ids[:end], temperature)
            if end == last and token in aligned.rests:
                rest = aligned.rests[token]
                moved *= sum(p[number] for number, text in enumerate(spelling.texts) if text and text.startswith(rest))
            else:
                moved *= p[text_ids[end]]
        source = int(projection.sources[text_ids[place + 1]])
        if source >= 0:
            q[source] -= moved
        q[label] += moved
    return q


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize(
    ("old", "new"),
    [("small", "large"), ("capped", "large"), ("large", "experts"), ("experts", "small"), ("small", "capped")],
)
def test_rows_are_the_probabilities_of_brute_force(models, old, new, temperature):
    rows, crossing, sequences = rows_of(models, old, new, temperature=temperature)
    student = output_head(models[new][0])
    at = chained = 0
    for ids, text_ids, aligned in zip(sequences, crossing.texts.old, crossing.texts.aligned, strict=True):
        for token, label in enumerate(ids[1:]):
            if aligned.place[token] < 0:
                assert rows.placed[at] == -1
                at += 1
                continue
            q, plain = (
                brute_force(models, old, new, text_ids, aligned, token, label, temperature=each)
                for each in (temperature, 1.0)
            )
            chained += aligned.last[token] >= aligned.place[token] + 2
            assert float(rows.placed[at]) == pytest.approx(float(q.sum()), abs=1e-6)
            q, plain = q / q.sum(), plain / plain.sum()
            torch.testing.assert_close(rows.vector[at], q @ student.weight, rtol=0, atol=1e-6)
            assert float(rows.entropy[at]) == pytest.approx(float(torch.special.entr(q).sum()), abs=1e-6)
            assert float(rows.log_p[at]) == pytest.approx(float(plain[label].clamp(min=1e-300).log()), abs=1e-5)
            assert bool(rows.right[at]) == (int(plain.argmax()) == label)
            at += 1
    assert at == len(rows)
    if (old, new) in (("small", "large"), ("small", "capped")):
        assert chained > 12


@pytest.mark.parametrize("kind", ["first", "pieces"])
def test_the_other_projections_are_plain_matrices(models, kind):
    rows, crossing, sequences = rows_of(models, "large", "experts", kind=kind)
    student = output_head(models["experts"][0])
    aligned = crossing.texts.aligned[1]
    at = len(sequences[0]) - 1
    for token, label in enumerate(sequences[1][1:]):
        if aligned.place[token] >= 0:
            q = brute_force(
                models, "large", "experts", crossing.texts.old[1], aligned, token, label, temperature=1.0, kind=kind
            )
            torch.testing.assert_close(rows.vector[at + token], q / q.sum() @ student.weight, rtol=0, atol=1e-6)


@torch.no_grad()
def test_a_union_token_has_the_probability_of_the_text_it_stands_for(models):
    """All ways to write two old tokens, one after the other: those that spell the union go to it, and no others."""
    model, tokenizer = models["small"]
    spelling, theirs = Spelling.of(tokenizer), Spelling.of(models["large"][1])
    union = next(number for number, text in enumerate(theirs.texts) if text == b"he")
    text = "the"
    crossing, _ = crossed(models, "small", "large", texts=[text])
    # A text whose new tokens are t and "he" would need a tokenizer of its own; the parts are put together here.
    h, e = spelling.numbers[b"h"], spelling.numbers[b"e"]
    before = [spelling.numbers[b"t"]]
    first = next_token(model, before, 1.0)
    written = torch.zeros(len(theirs.texts), dtype=torch.float64)
    projection = project(spelling, theirs)
    for number, probability in enumerate(first.tolist()):
        source = int(projection.sources[number]) if number < len(projection.sources) else -1
        second = next_token(model, [*before, number], 1.0)
        for following, chance in enumerate(second.tolist()):
            spelled = union if (number, following) == (h, e) else source
            if spelled >= 0:
                written[spelled] += probability * chance
    aligned = Aligned(np.array([0]), np.array([2]), {})
    texts = CrossedTexts([[*before, h, e]], [aligned])
    made = crossed_row_maker(
        model,
        output_head(model),
        Crossing(texts, spelling, theirs, "chunks"),
        [[theirs.numbers[b"t"], union]],
        RowForm(1.0, OutputHead(torch.eye(len(theirs.texts), dtype=torch.float64))),
    )([0])
    torch.testing.assert_close(made.vector[0] * made.placed[0], written, rtol=0, atol=1e-10)
    assert crossing.texts.num_aligned


def test_chunks_of_memory_and_batches_change_nothing(models):
    whole, crossing, sequences = rows_of(models, "small", "large", temperature=2.0)
    model = models["small"][0]
    make = crossed_row_maker(
        model,
        output_head(model),
        crossing,
        sequences,
        RowForm(2.0, output_head(models["large"][0]), memory_bytes=1),
    )
    parts = [make([index]) for index in range(len(sequences))]
    for field in ("vector", "entropy", "log_p", "placed"):
        found = torch.cat([getattr(part, field) for part in parts])
        torch.testing.assert_close(found, getattr(whole, field), rtol=0, atol=1e-9)


def in_another_order(tokenizer, place):
    """Return a tokenizer that cuts alike and numbers its tokens otherwise."""
    form = json.loads(tokenizer.backend_tokenizer.to_str())
    form["model"]["vocab"] = {name: place[number] for name, number in form["model"]["vocab"].items()}
    for added in form["added_tokens"]:
        added["id"] = place[added["id"]]
    form["added_tokens"].sort(key=lambda added: added["id"])
    raw = Tokenizer.from_str(json.dumps(form))
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_a_vocabulary_in_another_order_gives_the_same_loss(models, mask, temperature):
    model, tokenizer = models["large"]
    size = len(tokenizer)
    order = torch.randperm(size, generator=torch.Generator().manual_seed(0))  # new id to old id
    place = order.argsort()
    ids = tokenizer(READ)["input_ids"]
    turned_ids = [[int(place[number]) for number in each] for each in ids]
    ours, theirs = Spelling.of(tokenizer), Spelling.of(in_another_order(tokenizer, place.tolist()))
    texts = cross_texts(READ, turned_ids, ours, theirs, max_length=512)
    head = output_head(model)
    student_head = OutputHead(torch.randn(size, 24, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    turned = OutputHead(student_head.weight[order])
    settings = {"temperature": temperature}
    same = row_maker(model, head, ids, RowForm(temperature, student_head), pad_token_id=0)(range(len(READ)))
    crossing = Crossing(texts, ours, theirs, "chunks")
    others = crossed_row_maker(model, head, crossing, turned_ids, RowForm(temperature, turned))(range(len(READ)))
    assert texts.num_aligned == texts.num_tokens and bool((others.placed > 1 - 1e-12).all())
    labels = torch.tensor([number for each in ids for number in each[1:]])
    hidden = torch.randn(len(labels), 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    sequences = torch.tensor([row for row, each in enumerate(ids) for _ in each[1:]])
    values = []
    for rows, head_of, wanted in ((same, student_head, labels), (others, turned, place[labels])):
        states = hidden.clone().requires_grad_()
        terms = fused_compatibility_terms(
            states, head_of, wanted, rows, rows_like(rows), mask=mask, sequences=sequences, **settings
        )
        terms.loss.backward()
        values.append((terms.loss.detach(), terms.num_masked, states.grad))
    torch.testing.assert_close(values[0][0], values[1][0], rtol=1e-5, atol=0)
    assert values[0][1] == values[1][1]
    torch.testing.assert_close(values[0][2], values[1][2], rtol=0, atol=1e-4)


def rows_like(rows):
    """Return another teacher of the same kind: its rows turned by one token."""
    turned = {
        field.name: value.roll(1, 0)
        for field in dataclasses.fields(rows)
        if isinstance(value := getattr(rows, field.name), torch.Tensor) and field.name != "placed"
    }
    return dataclasses.replace(rows, **turned, placed=None)


@pytest.mark.parametrize("mask", MASKS)
def test_a_token_without_an_old_position_learns_from_the_new_model(models, mask):
    rows, _, sequences = rows_of(models, "capped", "large")
    blank = rows.placed < 0
    assert 0 < blank.sum() < len(blank)
    student = output_head(models["large"][0])
    labels = torch.tensor([number for ids in sequences for number in ids[1:]])
    hidden = torch.randn(len(labels), 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    new = dataclasses.replace(rows_like(rows), entropy=torch.zeros(len(rows), dtype=torch.float64))

    def terms(chosen, old):
        states = hidden[chosen].clone().requires_grad_()
        cut = [
            ProjectedRows(
                each.vector[chosen],
                each.entropy[chosen],
                each.log_p[chosen],
                each.right[chosen],
                None,
                1.0,
                None if each.placed is None else each.placed[chosen],
            )
            for each in (old, new)
        ]
        found = fused_compatibility_terms(states, student, labels[chosen], *cut, temperature=1.0, mask=mask)
        return dataclasses.replace(found, loss=found.loss.detach())

    found = terms(blank, rows)
    assert found.num_masked == 0 and float(found.kl_old) == 0.0
    assert float(found.loss) == pytest.approx(float(found.kl_new))
    # What stands in a blank row counts for nothing, even with Eq. 3, which sums over the sequence.
    everywhere = torch.ones_like(blank)
    filled = dataclasses.replace(
        rows,
        vector=rows.vector.where(~blank[:, None], 7.0),
        entropy=rows.entropy.where(~blank, 7.0),
        log_p=rows.log_p.where(~blank, -70.0),
        right=rows.right | blank,
    )
    assert float(terms(everywhere, rows).loss) == float(terms(everywhere, filled).loss)
    # Nor does one of which too little can be written in the student's tokens.
    little = dataclasses.replace(filled, placed=rows.placed.where(~blank, 0.49))
    assert float(terms(everywhere, rows).loss) == float(terms(everywhere, little).loss)


def test_what_came_across_is_counted_by_why_the_rest_did_not():
    column = torch.tensor([-1.0, 0.2, 0.6, 1.0, -1.0, 0.0, 0.8, 1.0, 1.0, 0.9])
    told = Crossed.of(SimpleNamespace(column=lambda name: column if name == "placed" else None))
    assert told.as_dict() == {"aligned": 0.6, "placed": pytest.approx(5.3 / 6), "too_little": 0.2}


@pytest.mark.parametrize("kind", KINDS)
def test_top_k_rows_hold_the_likeliest_of_the_student_s_tokens(models, kind):
    whole, _, _ = rows_of(models, "small", "large", kind=kind)
    rows, _, _ = rows_of(models, "small", "large", kind=kind, topk=5)
    known = rows.placed >= 0
    torch.testing.assert_close(
        rows.log_probs.exp().sum(-1)[known] + rows.tail[known], torch.ones(int(known.sum())).double()
    )
    assert all(len(set(ids)) == 5 for ids in rows.ids.tolist())
    torch.testing.assert_close(rows.log_p, whole.log_p)
    assert torch.equal(rows.right, whole.right)


def test_rows_of_a_small_old_vocabulary_are_as_wide_as_any(models):
    reached = project(Spelling.of(models["small"][1]), Spelling.of(models["large"][1])).columns.unique()
    wanted = len(reached) + 40
    rows, _, _ = rows_of(models, "small", "large", topk=wanted)
    assert rows.ids.shape[1] == rows.log_probs.shape[1] == wanted
    assert all(len(set(ids)) == wanted for ids in rows.ids.tolist())


@pytest.mark.parametrize("softcap", [None, 5.0])
def test_top_k_rows_of_all_tokens_give_the_loss_of_projected_rows(models, softcap):
    whole, _, sequences = rows_of(models, "small", "large")
    rows, _, _ = rows_of(models, "small", "large", topk=10_000)
    head = dataclasses.replace(output_head(models["large"][0]), softcap=softcap)
    labels = torch.tensor([number for ids in sequences for number in ids[1:]])
    hidden = torch.randn(len(labels), 24, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    found = fused_compatibility_terms(hidden, head, labels, rows, rows_like(rows), temperature=1.0, mask="old_right")
    if softcap is None:
        plain = fused_compatibility_terms(
            hidden, head, labels, whole, rows_like(whole), temperature=1.0, mask="old_right"
        )
        assert float(found.loss) == pytest.approx(float(plain.loss), rel=1e-6)
    assert torch.isfinite(found.loss) and found.loss > 0
