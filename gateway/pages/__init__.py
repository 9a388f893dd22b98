"""The web pages: a visitor's check-in and ticket, the door screen, the staff scanner."""
