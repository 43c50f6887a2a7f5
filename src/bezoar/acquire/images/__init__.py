"""Images: whether bytes that were verified are one, and re-encoding them in processes that may do nothing else."""
