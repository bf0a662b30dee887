"""The last stage of an update: what its runs scored and how they were trained, made a report."""
