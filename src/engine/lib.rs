//! The door to a machine, for real: lifecycle, health, restart, volumes, events, logs, recovery.

mod copy;
mod effective;
mod events;
mod health;
mod layers;
mod lifecycle;
mod lines;
mod names;
mod networks;
mod records;
mod restart;
mod store;
mod tails;
mod translate;
mod validate;
mod volumes;
