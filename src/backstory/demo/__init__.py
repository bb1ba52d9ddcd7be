"""The demo installation: a believable shop to look around in."""
