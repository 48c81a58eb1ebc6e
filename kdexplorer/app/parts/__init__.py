"""What several pages share: layout, charts, networks, picture, texts, downloads."""
