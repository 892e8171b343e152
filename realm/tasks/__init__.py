"""Tasks: questions, the verifier that judges their answers, the wording of their prompts."""
