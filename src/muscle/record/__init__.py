"""A record of a model's answers: asked for while the model lives, checked, and read in its place when it is gone.

It is a file of predictions in the project's own format (`muscle.predictions.records`), a JSON line an answer, so that
everything that reads runs reads it; each line also says how it was asked for, under `muscle_call`. Runs of any other
format serve as records too. Without torch, but for the answers of a model in memory (`local`).
"""
