"""Which flips are more than chance: repeats, the noise floor, verdicts on single items."""
