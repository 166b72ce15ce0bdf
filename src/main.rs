//! Glue: parse, run, exit status.

fn main() {}
