"""The pages that people read, as tests see them."""
