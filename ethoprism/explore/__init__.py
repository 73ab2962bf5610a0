"""The map of a project's moments: vectors, coordinates, clusters, and moments that are alike."""
