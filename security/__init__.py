"""Who may connect, and how: settings, secrets from files, TLS, and what each client library is given of them."""
