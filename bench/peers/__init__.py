"""What a team would write instead of Backstory: each peer in its own environment, at the same durability."""
