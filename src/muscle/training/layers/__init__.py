"""Faster layers: attention, LoRA, and what surrounds them."""
