"""The network's shape, its named parameters and how they are initialised."""
