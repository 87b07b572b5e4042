"""Image files and folders of them: every format to pixels, what was noticed, and how pixels change before storing."""
