"""Valid files of every format, and what can happen to them: for the property test and the fuzz run."""
