"""Training adapters: the data, the losses, the trainer, and the two stages that use it."""
