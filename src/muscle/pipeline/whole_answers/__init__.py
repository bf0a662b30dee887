"""What methods on whole answers read beside the data: candidate answers, and an old model that is a record."""
