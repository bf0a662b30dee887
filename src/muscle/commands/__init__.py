"""The commands of `muscle`, a file for each part of the work; `muscle.cli` puts them together."""
