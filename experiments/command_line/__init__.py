"""What binaries share besides their flags: their help, and those that have subcommands."""
