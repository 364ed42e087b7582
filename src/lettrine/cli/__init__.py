"""The command line: parses, calls, prints. Nothing here computes. Large modules are imported only when they are needed."""
