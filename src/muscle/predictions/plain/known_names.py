"""The names that people give to the columns of a file of predictions, field by field.

As `plain_name` writes them: small letters, words joined by `_`. Strong names come before weak ones: `result` is the
answer only where no column is called `prediction` or the like.
"""

from __future__ import annotations

import re

REFERENCES = (
    *("reference", "expected", "expected_output", "expected_answer", "expected_response", "expected_result"),
    *("expected_label", "target", "gold", "gold_answer", "gold_label", "gold_output", "golden_answer", "ground_truth"),
    *("groundtruth", "ground_truth_answer", "correct_answer", "correct_response", "reference_answer"),
    *("reference_output", "references", "ideal", "ideal_answer", "true_label", "true_answer", "y_true", "label"),
    "answer",
)
WEAK_REFERENCES = ("targets", "labels", "reference_outputs", "truth", "golden", "solution")
OUTPUTS = (
    *("output", "prediction", "predicted", "pred", "predicted_label", "predicted_answer", "predicted_output", "y_pred"),
    *("response", "actual_output", "actual_answer", "actual_response", "model_output", "model_response"),
    *("model_answer", "model_prediction", "model_completion", "llm_output", "llm_response", "llm_answer"),
    *("completion", "generation", "generated", "generated_text", "generated_answer", "generated_output"),
    *("generated_response", "output_text", "bot_response", "assistant_response", "answer"),
)
WEAK_OUTPUTS = ("outputs", "predictions", "reply", "assistant", "result", "a")
EITHER = ("answer", "actual")
"""The reference beside a prediction, and the model's answer beside what was expected."""
VERDICTS = (
    *("correct", "is_correct", "passed", "pass", "is_right", "verdict", "correctness", "exact_match", "em", "acc"),
    *("match", "is_match", "judgement", "judgment", "grade", "was_correct", "accurate"),
)
MEASURES = {"exact_match": "exact match", "em": "exact match", "acc": "accuracy", "match": "match", "is_match": "match"}
"""Names of verdicts that say by which metric they are."""
WEAK_VERDICTS = ("success", "right", "result", "outcome", "test_result", "status", "ok")
"""Said of a call as often as of its answer: taken only where there is no answer with a reference."""
INPUTS = ("input", "question", "prompt", "query", "text", "instruction", "problem")
WEAK_INPUTS = (
    *("user_input", "user_prompt", "user_query", "user_message", "inputs", "input_text", "question_text"),
    *("prompt_text", "request", "utterance", "sentence", "message", "messages", "conversation", "q"),
)
CHATS = ("messages", "conversation")
"""The input where a chat ends before the answer; else both input and output."""
IDS = (
    *("id", "item_id", "question_id", "example_id", "sample_id", "prompt_id", "doc_id", "uid", "qid", "idx", "index"),
    *("custom_id", "case_id", "test_case_id", "test_id", "instance_id", "problem_id", "record_id", "row_id"),
    *("ticket_id", "uuid", "guid"),
)
TASK_IDS = ("task_id",)
"""An item's where every row has another; a task's name else."""

ASKED = (*INPUTS, *WEAK_INPUTS)
NAMED = (*IDS, *TASK_IDS)
ANSWERED = (*OUTPUTS, *WEAK_OUTPUTS)
EXPECTED = (*REFERENCES, *WEAK_REFERENCES)
JUDGED = (*VERDICTS, *WEAK_VERDICTS)
"""Strong and weak names, field by field: what a column may be called, where no column shall be taken for another's."""

_WORD_END = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def plain_name(name: str) -> str:
    """Write a column's name as the lists have it.

    >>> plain_name(" Expected Answer"), plain_name("expectedAnswer"), plain_name("Correct?")
    ('expected_answer', 'expected_answer', 'correct')
    """
    return re.sub(r"\W+", "_", _WORD_END.sub("_", name)).strip("_").lower()
