"""Pages that hold everything they show: layout, style, and the kit for figures."""
