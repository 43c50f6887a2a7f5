"""Synthetic data and the story that `bezoar demo` tells with it.

The names live in the modules `signs` and `creatures`, which load Pillow; this package loads nothing.
"""
