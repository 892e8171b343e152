"""Training: the SFT cold start and RL on TRL's trainers, and the recipes made of them."""
