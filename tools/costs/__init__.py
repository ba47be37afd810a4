"""What layers and models cost in parameters and multiply-adds."""
