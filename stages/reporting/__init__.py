"""What the report is made of: numbers, charts, a gallery, a page. Nothing in here imports torch."""
