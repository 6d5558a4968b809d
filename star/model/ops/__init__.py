"""Pure torch functions: rotary positions, causal convolutions, linear scans. No parameters, no state."""
