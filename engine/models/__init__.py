"""The bundled networks, each with its model card; 15 MB at most."""
