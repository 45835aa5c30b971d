"""The dashboard: pages over the library, served by `python -m dashboard`."""
