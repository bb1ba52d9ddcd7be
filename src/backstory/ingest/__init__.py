"""From a request's body to a durable activity."""
