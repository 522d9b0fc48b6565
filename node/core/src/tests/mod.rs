//! Tests of whole replicas: tables of (inputs -> outputs) for one, and simulated clusters of several.

mod cluster;
mod dcc;
mod dcc_nemesis;
mod nemesis;
mod protocol;
mod single;
