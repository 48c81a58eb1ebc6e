"""Data to Vega-Lite specifications. No streamlit and no torch."""
