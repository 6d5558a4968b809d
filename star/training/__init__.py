"""Training of proxies and what is measured of them: quality, errors in synthetic tasks, latency."""
