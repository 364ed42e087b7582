"""Drawing: charts, one HTML page, the terminal. Reads what `health` measured; measures nothing."""
