"""Engines of the activity log."""
