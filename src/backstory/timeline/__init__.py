"""The one read path: what a contact did, for the API, the pages and the command line alike."""
