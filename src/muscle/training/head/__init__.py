"""The output head's product without whole logits, on a CPU and on a GPU."""
