"""What is measured and never asserted in tests: time and memory, ours beside the textbook twins."""
