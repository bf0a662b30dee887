"""What several candidates for one update are worth, held against the plain update and the controls."""
