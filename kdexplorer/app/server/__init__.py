"""What stands between the network and the pages: access, turns, limits, headers, uploads."""
