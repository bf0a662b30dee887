"""update.yaml as typed objects, and the commented file that `muscle init` writes."""
