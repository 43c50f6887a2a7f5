"""Seals: a dataset's manifest, its snapshot tree, its description and the signature over them, made and verified.

`sealing.seal` makes one, `verifying.verify` checks a dataset against one, `plain.verify_signature` against a bare bundle of
`model_signing`, `streaming.open_dataset` reads a dataset so that every record is checked on its way, `reading.Seal` reads one.
"""
