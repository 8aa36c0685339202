"""Side by side with the peers, and is the method honest: each module prints tables when it is run."""
