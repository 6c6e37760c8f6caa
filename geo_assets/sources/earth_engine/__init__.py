"""Earth Engine: expressions of composites, and a downloader of their chips that can be trusted."""
