"""Tools for developing and operating Parley. Nothing of this is deployed."""
