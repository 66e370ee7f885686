"""What a run releases of its items once, before it trains: their popularity, its catalogue."""
