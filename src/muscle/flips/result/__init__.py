"""The result object: verdict, warnings, the list of flips."""
