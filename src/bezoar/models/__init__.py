"""Models: small trainers. The names live in the modules, so that importing this package loads no torch."""
