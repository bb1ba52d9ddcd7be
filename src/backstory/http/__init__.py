"""The HTTP side. `routes.py` has every URL on one screen."""
