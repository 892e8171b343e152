"""What samples say of what they are drawn from: bootstraps, Student's t, and figures of streams."""
