"""What a refused and a cut-off answer look like: the built-in patterns for causes of wrong answers."""

from __future__ import annotations

REFUSAL = (
    r"(?i)^\W{0,20}(?:i['\x{2019}]?m|i am|we['\x{2019}]?re) (?:very |so |really )?sorry\b",
    r"(?i)^\W{0,20}(?:sorry|apologies|unfortunately|i apologi[sz]e)\b.{0,80}"
    r"(?:can['\x{2019}]?t|cannot|can not|unable|not able|won['\x{2019}]?t)",
    r"(?i)\b(?:i|we) (?:can['\x{2019}]?t|cannot|can not|won['\x{2019}]?t|will not|am unable to|['\x{2019}]?m unable to|"
    r"am not able to|['\x{2019}]?m not able to|"
    r"must decline to|have to decline to|refuse to) "
    r"(?:help|assist|answer|provide|comply|fulfil|fulfill|do that|create|generate|give|"
    r"engage|discuss|support|share|offer|write|respond|complete)",
    r"(?i)\bas an? (?:ai|artificial intelligence|large language model)\b.{0,120}"
    r"(?:can['\x{2019}]?t|cannot|not able|unable|don['\x{2019}]?t)",
    r"(?i)\b(?:against|violates?) (?:my|our|the) (?:content |usage |safety )?(?:guidelines|policy|policies)\b",
    r"(?i)^\W{0,20}(?:es tut mir leid|je suis désolée?|lo siento|desculpe|mi dispiace|抱歉|对不起|申し訳|죄송)",
)
"""How refusals begin or what they say, within the first 400 characters of an answer."""

REFUSED = ("refusal", "content_filter", "content-filter", "safety", "prohibited_content", "blocklist")
"""Finish reasons, in lower case, that say that a model or its provider declined."""
CUT_OFF = (
    "length",
    "max_tokens",
    "max_output_tokens",
    "model_length",
    "token_limit",
    "max_length",
    "incomplete",
)
"""Finish reasons, in lower case, that say that an answer ended at a limit."""
