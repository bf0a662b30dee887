"""Before and while a version is evaluated: how many items and repeats, which items to ask again, when to stop."""
