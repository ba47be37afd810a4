"""What heads and necks are built of."""
