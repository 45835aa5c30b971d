"""Arrays in, pictures out. Nothing here knows torch or Streamlit; `theme` holds the only colours of the project."""
