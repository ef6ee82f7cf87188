"""Parley's service: the code that its functions share."""

# The version of this edition, as MCP clients see it. public/openapi.json and CHANGELOG.md name it too; a test compares.
VERSION = "3.0.0"
