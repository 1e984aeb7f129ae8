"""Features of any images, and which images are nearest to one."""
