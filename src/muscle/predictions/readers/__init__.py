"""Readers of the formats that harnesses write: a module or a package a format, imported when a run is read.

Each has `recognises(path, head) -> bool`, which looks at names and at the file's first bytes only, and
`read(path) -> Run`. `shared` holds what several of them use.
"""
