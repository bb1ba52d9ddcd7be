"""What the product talks about: pure, frozen, without I/O."""
