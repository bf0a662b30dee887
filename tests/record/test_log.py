"""The record's file: whole lines, no answer twice, no two processes, no mixed ways of asking."""

import json

import pytest

from muscle.errors import DataError, OutputError
from muscle.record.log import RecordLog
from muscle.record.pace import Usage


def row(item, repeat=0, asked_with="way", **call):
    made = {"asked_with": asked_with, "model": "m", **call}
    return {"id": item, "input_hash": f"#{item}", "repeat": repeat, "muscle_call": made}


def written(path, *rows, end="\n"):
    path.write_text("\n".join(json.dumps(each) for each in rows) + end)
    return path


def test_what_is_added_is_there_when_the_file_is_opened_again(tmp_path):
    log = RecordLog(tmp_path / "new" / "record.jsonl", "way")
    with log.open():
        log.append([row("a"), row("ä\ud83d")])
    again = RecordLog(log.path, "way")
    assert again.done == {("#a", 0), ("#ä\ud83d", 0)}


def test_the_beginning_of_a_line_that_a_kill_left_is_cut_off(tmp_path):
    path = written(tmp_path / "record.jsonl", row("a"), end='\n{"id": "b", "rep')
    log = RecordLog(path, "way")
    with log.open():
        log.append([row("b")])
    assert RecordLog(path, "way").done == {("#a", 0), ("#b", 0)}


def test_lines_of_calls_that_failed_go_with_the_answer_that_takes_over_their_cost(tmp_path):
    failed = [row("b", failed=True, tokens_read=7, tokens_written=3), row("c", failed=True, tokens_read=5)]
    failed[1]["muscle_call"]["failed_before"] = {"tokens_read": 100, "tokens_written": 40}
    path = written(
        tmp_path / "record.jsonl", row("a", tokens_read=1, tokens_written=1), failed[0], failed[1], row("a", 1)
    )
    log = RecordLog(path, "way")
    paid = log.spent
    assert log.drop_failed() == 2 and log.done == {("#a", 0), ("#a", 1)} and log.spent == paid == Usage(108, 44)
    with log.open():
        assert RecordLog(path, "way").spent == paid, "a kill before the first answer forgets nothing"
        log.append([row("b", tokens_read=20, tokens_written=2)])
        log.append([row("c", tokens_read=30, tokens_written=3)])
    again = RecordLog(path, "way")
    assert again.drop_failed() == 0 and again.done == {("#a", 0), ("#a", 1), ("#b", 0), ("#c", 0)}
    assert again.spent == Usage(158, 49) == log.spent


def test_a_record_of_another_model_or_setting_is_refused(tmp_path):
    path = written(tmp_path / "record.jsonl", row("a"), row("b", asked_with="other"))
    with pytest.raises(DataError, match=r"line 2: expected answers asked for in this way.*model 'm'.*another --out"):
        RecordLog(path, "way")


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "a"}', '{"id": "a", "repeat": 0}'])
def test_a_file_that_is_no_record_is_refused_and_left_alone(tmp_path, line):
    path = tmp_path / "record.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(DataError, match=r"record\.jsonl, line 1"):
        RecordLog(path, "way")
    assert path.read_text() == line + "\n"


def test_two_processes_do_not_record_into_one_file(tmp_path):
    first, second = (RecordLog(tmp_path / "record.jsonl", "way") for _ in range(2))
    with first.open(), pytest.raises(OutputError, match="another muscle process"), second.open():
        pass


def test_nothing_is_changed_in_a_file_that_another_process_is_writing_into(tmp_path):
    begun = '{"id": "c", "inp'
    path = written(tmp_path / "record.jsonl", row("a"), row("b", failed=True), end=f"\n{begun}")
    before = path.read_text()
    log = RecordLog(path, "way")
    assert log.drop_failed() == 1 and path.read_text() == before
    path.write_text(before + 'ut_hash": "#c", "repeat": 0}\n')
    with pytest.raises(OutputError, match="has written into it in the meantime"), log.open():
        pass
    assert path.read_text().startswith(before)


def test_a_full_disk_is_told_and_what_was_written_before_is_kept(tmp_path):
    resource = pytest.importorskip("resource")
    log = RecordLog(tmp_path / "record.jsonl", "way")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(OutputError, match=r"record\.jsonl: cannot be written: File too large"), log.open():
            log.append([row("a")])
            resource.setrlimit(resource.RLIMIT_FSIZE, (log.path.stat().st_size + 5, hard))
            log.append([row("b")])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = RecordLog(log.path, "way")
    with again.open():
        again.append([row("b")])
    assert RecordLog(log.path, "way").done == {("#a", 0), ("#b", 0)}
