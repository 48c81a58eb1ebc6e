"""The pages: a module or a folder for each, and three folders that they share (server, state, parts)."""
