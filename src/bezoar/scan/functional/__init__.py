"""Pure functions on arrays: arrays in, arrays out, no files, no datasets."""
