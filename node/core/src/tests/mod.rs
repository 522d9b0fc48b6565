//! Tests of whole replicas: tables of (inputs -> outputs) for one, and simulated clusters of several.

mod cluster;
mod nemesis;
mod protocol;
mod single;
