"""The agent's workspace: pages for people, made on the server."""
