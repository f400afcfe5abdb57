//! The trochee command line.
fn main() {}
