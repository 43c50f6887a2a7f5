"""Signatures over datasets and events: keys, signers and verifiers, DSSE envelopes, in-toto statements, OMS bundles."""
