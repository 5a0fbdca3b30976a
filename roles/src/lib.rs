//! What to run where.
