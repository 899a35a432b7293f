"""The benchmarks behind the suite's figures of speed, and the times that claims compare: always side by side."""
