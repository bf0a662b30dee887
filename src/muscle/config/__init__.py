"""update.yaml as typed objects, and the commented files that `muscle init` writes."""
