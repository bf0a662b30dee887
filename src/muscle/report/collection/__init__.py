"""Several updates side by side: the paper's Tables 4 to 6 and its Fig. 4 and 5, of one's own runs."""
