"""The benchmarks behind the suite's figures of speed, one file each: two ways of one thing, side by side."""
