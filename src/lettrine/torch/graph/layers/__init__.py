"""What happens inside a network: norms, masks, gates, modes, frozen parts."""
