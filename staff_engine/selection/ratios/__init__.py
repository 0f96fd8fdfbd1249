"""What the verified samples say of each stratum, by several rules."""
