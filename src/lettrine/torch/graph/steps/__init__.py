"""What becomes of gradients: optimisers, schedules, graphs that are kept."""
