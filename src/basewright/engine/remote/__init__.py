"""Engines that answer over a network: any OpenAI-style completions endpoint, Replicate, Bedrock."""
