"""Records: contacts and their identities, agents, keys, audit. SQLAlchemy Core, the same on every relational engine."""
