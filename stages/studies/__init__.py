"""Studies, one file each; `sepp study` runs them."""
