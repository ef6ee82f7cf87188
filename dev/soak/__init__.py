"""The soak test."""
