"""The soak test, and the faults and clients that it and the tests use."""
