"""What layers and models cost in parameters and multiply-adds (tools/get_flops.py)."""
