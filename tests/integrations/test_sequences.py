"""The sequences of a batch are found whatever a library's collator made of them."""

import pytest
import torch

from muscle.errors import ConfigError
from muscle.integrations.sequences import KnownSequences, Place, places_in, sequences_of


def found(batch):
    return [batch["input_ids"][place.row, place.start : place.end].tolist() for place in places_in(batch)]


def batch(*rows, **columns):
    return {"input_ids": torch.tensor(rows), **{name: torch.tensor(value) for name, value in columns.items()}}


@pytest.mark.parametrize(
    ("rows", "mask"),
    [
        ([[5, 6, 7, 0], [8, 9, 0, 0]], [[1, 1, 1, 0], [1, 1, 0, 0]]),  # padded on the right
        ([[0, 5, 6, 7], [0, 0, 8, 9]], [[0, 1, 1, 1], [0, 0, 1, 1]]),  # on the left
    ],
)
def test_padding_on_either_side_is_no_part_of_a_sequence(rows, mask):
    assert found(batch(*rows, attention_mask=mask)) == [[5, 6, 7], [8, 9]]


def test_packed_sequences_begin_where_positions_do():
    packed = batch([5, 6, 7, 8, 9, 0], position_ids=[[0, 1, 2, 0, 1, 0]])
    assert found(packed) == [[5, 6, 7], [8, 9], [0]]


def test_packed_sequences_may_be_numbered_by_their_mask():
    packed = batch([5, 6, 7, 8, 9, 0], position_ids=[[0, 1, 2, 0, 1, 0]], attention_mask=[[1, 1, 1, 2, 2, 0]])
    assert found(packed) == [[5, 6, 7], [8, 9]]
    assert list(places_in(packed)) == [Place(0, 0, 3), Place(0, 3, 5)]


def test_a_row_without_a_mask_is_one_sequence():
    assert found(batch([5, 6, 7])) == [[5, 6, 7]]


def test_a_mask_of_another_shape_says_nothing_of_single_tokens():
    square = torch.ones(1, 1, 3, 3, dtype=torch.bool).tolist()
    assert found(batch([5, 6, 7], attention_mask=square)) == [[5, 6, 7]]


def test_data_sets_are_read_row_by_row_packed_or_not():
    plain = [{"input_ids": [1, 2, 3]}, {"input_ids": torch.tensor([4, 5])}]
    packed = [
        {"input_ids": [1, 2, 3, 4, 5], "seq_lengths": [3, 2]},
        {"input_ids": [6, 7, 8], "position_ids": [0, 1, 0]},
    ]
    in_lists = [[{"input_ids": [1, 2]}, {"input_ids": [3, 4]}]]
    assert list(sequences_of(plain)) == [[1, 2, 3], [4, 5]]
    assert list(sequences_of(packed, None)) == [[1, 2, 3], [4, 5], [6, 7], [8]]
    assert list(sequences_of({"a": in_lists, "b": plain})) == [[1, 2], [3, 4], [1, 2, 3], [4, 5]]


def test_a_stream_is_refused():
    with pytest.raises(ConfigError, match="expected a data set with a length, found a stream"):
        list(sequences_of(iter([{"input_ids": [1, 2]}])))


def test_each_sequence_is_known_once_and_by_its_whole_content():
    known = KnownSequences([[1, 2, 3], [4, 5], [1, 2, 3], [9], [4, 6]])
    assert known.sequences == [[1, 2, 3], [4, 5], [4, 6]]
    assert [known.number(ids) for ids in ([1, 2, 3], [4, 5], [4, 6])] == [0, 1, 2]
    assert known.number([1, 2]) is None and known.number([9]) is None
