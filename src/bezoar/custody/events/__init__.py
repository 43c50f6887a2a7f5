"""Events in the life of a dataset: signed statements in the custody log, and the life of one record."""
