"""No look: second programs for remedies that the looks meet once, written after the rules, from public reports."""
