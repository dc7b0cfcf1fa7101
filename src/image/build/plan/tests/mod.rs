//! Golden Dockerfiles: what each instruction does to a config, what a file is planned as, and what is
//! said about files that are wrong. `BLESS=1` writes the golden files anew; read the difference.

mod bad;
mod bounds;
mod golden;
mod instructions;
mod plans;
