"""The door: what a gateway needs to publish scans, and the files that scans and venues come in."""
