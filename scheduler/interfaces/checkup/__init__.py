"""What ``scheduler doctor`` looks at: each module reads facts, and judges them apart."""
