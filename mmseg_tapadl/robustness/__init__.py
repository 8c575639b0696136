"""The sweep over corruption x severity, its results and its pages. ``benchmark.measure`` does it all."""
