"""What SFT teaches and what pairs prefer: steps from a bank to traces, weights of tokens, miners of pairs."""
