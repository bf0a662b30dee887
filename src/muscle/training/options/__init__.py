"""Training on whole answer options: targets over options, losses, the data and the trainer."""
