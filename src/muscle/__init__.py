"""See, stop and fix the negative flips of an LLM update."""
