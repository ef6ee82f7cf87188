"""What Parley's functions share: the store, the sessions, the wire."""
