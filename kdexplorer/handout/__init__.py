"""The handout: one self-contained HTML file with real networks' answers, alive without a server.

`sources` fetches answers and images, `content` draws them with the application's own charts, `page` makes the file.
"""
