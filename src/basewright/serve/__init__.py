"""Answer on an address of this machine in OpenAI's completions shape, over any engine."""
