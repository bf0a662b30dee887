"""What `--help` shows beside a command's own text: groups, examples, where to read on; and the command to type next."""
