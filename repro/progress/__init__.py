"""What a terminal shows while something takes long; the only place that imports rich."""
