"""One self-contained page on a project for a person who studies behaviour."""
