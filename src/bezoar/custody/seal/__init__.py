"""Seals: a dataset's manifest, its snapshot tree, its description and the signature over them, made and verified."""
