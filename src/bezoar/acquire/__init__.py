"""Downloads that cannot be tampered with: lists of URLs, hub repositories and archives, verified while they arrive."""
