"""Backstory: what a contact did in other applications, beside the ticket."""

__version__ = "0.1.0"
