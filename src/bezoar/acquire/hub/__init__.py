"""Repositories of the Hugging Face hub, fetched as one commit has them."""
