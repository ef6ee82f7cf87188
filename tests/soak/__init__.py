"""The soak test, with the faults and clients that other tests use as well."""
