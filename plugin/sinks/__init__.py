"""Where results go: mask pictures, videos, plots, reports and annotation files."""
