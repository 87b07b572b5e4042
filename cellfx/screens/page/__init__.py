"""The page of bin/profile: tables, curves and pictures that compare variants."""
