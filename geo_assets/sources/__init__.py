"""Where pixels come from: one protocol (``protocol.py``), one module for each kind of source."""
