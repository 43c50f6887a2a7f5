"""Fetching over http and https: caps, deadlines, checked addresses, redirects by hand, bodies hashed while they arrive."""
