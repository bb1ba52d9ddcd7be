"""Where things are kept: `base` has the interfaces, the rest are engines."""
