"""The memory that each stage of an update takes on a GPU, and whether it fits a card that is named."""
