"""What task a file of rows is: `muscle init --task FILE` proposes its YAML and says why."""
