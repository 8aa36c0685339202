"""The command line: a literal table of commands, one file each; all output in `show`, all errors in `fail`."""
