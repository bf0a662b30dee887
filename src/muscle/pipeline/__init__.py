"""From a configuration to a finished run folder: the stages of an update, top to bottom."""
