"""Who works with the contacts, and what they may: contacts, agents, keys, audit, rejected requests."""
