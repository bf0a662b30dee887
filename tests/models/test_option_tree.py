import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from muscle.errors import DataError
from muscle.models.option_tree import encode_options, option_tree, portions
from muscle.tasks import Example
from tiny.bases import byte_tokenizer

TOKENS = st.lists(st.integers(0, 3), min_size=1, max_size=5)
OPTIONS = st.lists(TOKENS, min_size=1, max_size=8)


def example(*choices: str, context: str = "open the jar", delimiter: str = " ") -> Example:
    return Example(id="e", context=context, reference=("x",), target=" x", choices=choices, delimiter=delimiter)


@given(context=TOKENS, options=OPTIONS)
def test_every_option_is_found_again_along_its_path(context, options):
    tree = option_tree(context, options)
    assert list(tree.options()) == options
    assert list(tree.input_ids[: tree.num_context]) == context
    for option, path in zip(options, tree.paths, strict=True):
        for place, number in enumerate(path):
            seen = torch.from_numpy(tree.sight())[tree.edges[number].node].nonzero().flatten().tolist()
            assert [tree.input_ids[node] for node in seen] == context + option[:place]
            assert [tree.positions[node] for node in seen] == list(range(len(seen)))


@given(context=TOKENS, options=OPTIONS)
def test_a_beginning_stands_in_the_tree_once_and_last_tokens_not_at_all(context, options):
    tree = option_tree(context, options)
    beginnings = {tuple(option[:end]) for option in options for end in range(1, len(option) + 1)}
    inner = {tuple(option[:end]) for option in options for end in range(1, len(option))}
    assert len(tree.edges) == len(set(tree.edges)) == len(beginnings)
    assert len(tree.input_ids) == len(context) + len(inner)
    assert tree.depth == len(context) + max(map(len, options)) - 1


@given(context=TOKENS, options=OPTIONS)
def test_a_distinguishing_beginning_is_the_shortest_that_no_other_option_has(context, options):
    cut = list(option_tree(context, options, distinguishing=True).options())
    for index, (option, short) in enumerate(zip(options, cut, strict=True)):
        others = options[:index] + options[index + 1 :]
        free = [end for end in range(1, len(option) + 1) if not any(other[:end] == option[:end] for other in others)]
        assert short == option[: min(free, default=len(option))]


@pytest.mark.parametrize(("context", "options"), [([], [[1]]), ([1], []), ([1], [[2], []])])
def test_a_tree_of_nothing_is_refused(context, options):
    with pytest.raises(ValueError, match="expected a context"):
        option_tree(context, options)


def test_options_are_what_follows_the_context_in_the_whole_text():
    tokenizer = byte_tokenizer(["open the jar", " with a knife", " with care"], bos=True)
    item = example("with a knife", "with care", "soup")
    context, options = encode_options(item, tokenizer, 64)
    assert context == tokenizer("open the jar")["input_ids"]
    for option, choice in zip(options, item.choices, strict=True):
        assert context + option == tokenizer(f"open the jar {choice}")["input_ids"]


def test_blanks_at_the_contexts_end_are_the_options():
    tokenizer = byte_tokenizer(["open the jar", " with care"], bos=False)
    apart = encode_options(example("with care", "soup"), tokenizer, 64)
    assert encode_options(example("with care", "soup", context="open the jar ", delimiter=""), tokenizer, 64) == apart


def test_where_a_tokenizer_merges_over_the_seam_the_context_ends_before_it():
    tokenizer = byte_tokenizer(["ab", "ab", "ab"], bos=False)
    context, options = encode_options(example("b", "c", context="ca", delimiter=""), tokenizer, 64)
    assert context == tokenizer("c")["input_ids"]
    assert options == [tokenizer("ab")["input_ids"], tokenizer("ac")["input_ids"]]
    assert [len(option) for option in options] == [1, 2]


def test_a_context_is_cut_at_its_beginning_so_that_the_longest_option_fits():
    tokenizer = byte_tokenizer([], bos=False)
    context, options = encode_options(example("ab", "abcd"), tokenizer, 9)
    assert context == tokenizer(" jar")["input_ids"]
    assert [len(option) for option in options] == [3, 5]


@pytest.mark.parametrize(
    ("choices", "context", "message"),
    [
        ((), "jar", "expected answer options, found none"),
        (("a", ""), "jar", "option 1 has 0 tokens"),
        (("a", "b" * 9), "jar", "option 1 has 9 tokens; expected at least one, and fewer than max_length 9"),
        (("a", "b"), "", "expected a context before its options"),
    ],
)
def test_what_cannot_be_scored_is_refused(choices, context, message):
    with pytest.raises(DataError, match=message):
        encode_options(example(*choices, context=context, delimiter=""), byte_tokenizer([], bos=False), 9)


@given(options=OPTIONS, most=st.integers(1, 12))
def test_options_are_shared_out_among_trees_that_are_small_enough(options, most):
    parts = portions(2, options, most)
    assert sorted(index for part in parts for index in part) == list(range(len(options)))
    for part in parts:
        tree = option_tree([8, 9], [options[index] for index in part])
        assert len(part) == 1 or len(tree.input_ids) <= most
    if most >= len(option_tree([8, 9], options).input_ids):
        assert len(parts) <= 1 + sum(len(option) == 1 for option in options)
