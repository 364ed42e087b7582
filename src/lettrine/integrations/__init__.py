"""One small file for each framework. Nothing else in lettrine imports them."""
