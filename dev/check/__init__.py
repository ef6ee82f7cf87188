"""The deployment checker."""
