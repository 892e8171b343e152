"""What reads and writes as a student: training, evaluation and teachers of this machine stand on it."""
