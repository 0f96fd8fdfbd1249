"""Results → data frames → Plotly figures; no Streamlit, no model."""
