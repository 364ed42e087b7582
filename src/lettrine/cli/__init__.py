"""The command line: parses, calls, prints. Nothing here computes, and nothing heavy is imported before it is needed."""
