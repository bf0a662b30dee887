"""Methods, settings and seeds on one update, held against each other and against the controls: see `sweep`."""
