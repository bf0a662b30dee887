"""What `--help` shows beside a command's own text: groups of commands and options, examples, where to read on."""
