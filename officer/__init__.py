"""What officers see: reports, exports, pictures, and reads over PostgreSQL."""
