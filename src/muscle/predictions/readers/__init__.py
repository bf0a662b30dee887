"""Readers of the formats that harnesses write: one module a format, imported when a run is read.

Each has `recognises(path, head) -> bool`, which looks at names and at the file's first bytes only, and
`read(path) -> Run`. Modules that begin with an underscore are what several readers share.
"""
