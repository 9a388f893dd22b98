"""What happens on the way: one thin file per agent."""
