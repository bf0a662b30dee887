"""The report as Markdown and in a terminal."""
