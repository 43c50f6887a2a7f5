"""Lists of URLs to fetch: read in batches from many formats, their hashes checked, analysed and signed."""
