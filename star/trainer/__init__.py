"""One architecture trained at any scale, through interruptions, on one device or many."""
