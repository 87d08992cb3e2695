"""The model room: everything a Hub checkpoint needs to run without the package."""
