"""The charts as helm sees them."""
