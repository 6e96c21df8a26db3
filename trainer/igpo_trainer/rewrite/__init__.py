"""Rewriting of long traces by a teacher: what is asked, what it answers, and what of that is kept."""
