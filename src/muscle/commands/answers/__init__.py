"""Commands on the answers of models that are gone or served elsewhere: recorded, and chosen from."""
