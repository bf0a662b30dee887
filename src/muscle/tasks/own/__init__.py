"""Tasks of your own, from a YAML."""
