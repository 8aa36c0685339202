"""Files that were changed on purpose, through the airlock: each passes, or is the one error, in bounds."""
