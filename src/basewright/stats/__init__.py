"""Pure mathematics: intervals and paired comparisons."""
