"""The handout: one self-contained HTML file with the predictions of real networks, interactive without a server."""
