"""Attacks against defences: matrices of detection, with their statistics.

`plan` says which cells there are, `cell` measures one, `run` measures many and keeps them in a `store`, `summary` counts
them by the intervals of `statistics`, `page` shows them.
"""
