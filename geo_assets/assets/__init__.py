"""The asset graph, one module for each group; thin: no mathematics, no HTTP, no file formats."""
