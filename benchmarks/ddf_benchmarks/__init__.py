"""Measures the operators beside others, and trains decoders that differ in their upsampling.

Part of a checkout, not of a wheel. `make setup` installs it editable (see setup.py), so that it can
be imported from everywhere: the study's configs load wherever Python starts.
"""
