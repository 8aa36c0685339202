"""Change weights: one loop, one loss function per method."""

import logging

# peft imports it where it is installed, and it then speaks of a package with faster kernels.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
