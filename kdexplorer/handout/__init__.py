"""The handout: one self-contained HTML file with the predictions of real networks, interactive without a server.

`sources` fetches predictions and images, `content` draws the application's own charts, `page` writes the file.
"""
