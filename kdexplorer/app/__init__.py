"""The pages: a module or a folder for each, and three folders that they share (server, state, parts)."""

import logging

# Caches are declared before the server's runtime exists, and work in it: Streamlit warns of each at every start.
logging.getLogger("streamlit.runtime.caching.cache_data_api").setLevel(logging.ERROR)
