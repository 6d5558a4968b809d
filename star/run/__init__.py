"""Runs from beginning to end: settings, the plan that follows from them, the loop, and its resumption."""
