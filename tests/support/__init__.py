"""What several test files need: small runs, invented results, independent implementations, and processes to kill."""
