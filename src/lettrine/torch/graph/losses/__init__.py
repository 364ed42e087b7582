"""What a loss is made of: its terms and their reference, the operations between the network and it, which way it pulls."""
