"""What researchers compute with numpy (pip install -r requirements-research.txt).

The server does without: app.domain.indicators answers the same numbers one candle at a time.
"""
