"""A folder of pages of trends, which any file server serves."""
